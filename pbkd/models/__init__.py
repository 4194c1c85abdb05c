"""Teachers, chains, students. These names are the interface for partitioners and exporters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.models.generated_code import GeneratedCode, generate_code, write_code
    from pbkd.models.onnx_integers import use_integers
    from pbkd.models.rounding import is_rounded
    from pbkd.models.traced_network import TracedNetwork
    from pbkd.models.weights import fit_weights, read_weights, write_weights

__all__ = [
    "GeneratedCode",
    "TracedNetwork",
    "fit_weights",
    "generate_code",
    "is_rounded",
    "read_weights",
    "use_integers",
    "write_code",
    "write_weights",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "GeneratedCode": "pbkd.models.generated_code",
        "TracedNetwork": "pbkd.models.traced_network",
        "fit_weights": "pbkd.models.weights",
        "generate_code": "pbkd.models.generated_code",
        "is_rounded": "pbkd.models.rounding",
        "read_weights": "pbkd.models.weights",
        "use_integers": "pbkd.models.onnx_integers",
        "write_code": "pbkd.models.generated_code",
        "write_weights": "pbkd.models.weights",
    },
)
