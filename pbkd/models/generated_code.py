"""A network as Python code and weights that need torch alone. Exporters use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.files import write_file
from pbkd.errors import ExportError
from pbkd.models.plain.code import FIRST_WORDS, network_code, own_weights
from pbkd.models.plain.tracing import trace_plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from pbkd.protocols import ExportSubject


__all__ = ["GeneratedCode", "generate_code", "write_code"]


@dataclass(frozen=True)
class GeneratedCode:
    """A network as code.

    Attributes:
        text: The code: the class `Student` and the functions `load` and `prepare`.
        weights: Its weights, by the names in the code.
    """

    text: str
    weights: Mapping[str, Tensor]


def generate_code(subject: ExportSubject, weights: str) -> GeneratedCode:
    """Write a network as plain PyTorch code, without the preparation as a part of it.

    Args:
        subject: The network.
        weights: The name of the file of weights beside the code, `.pth` or `.safetensors`.

    Raises:
        ExportError: The network cannot be written as code.
    """
    plain = trace_plain(subject.network, subject.preparation.image_shape)
    text = network_code(plain, subject.preparation, subject.class_names, weights)
    return GeneratedCode(text, own_weights(plain))


def write_code(path: Path, code: GeneratedCode) -> None:
    """Write the text of generated code.

    Raises:
        ExportError: There is a file which is not generated code, such as a program of the user's.
    """
    _check_free(path)
    write_file(path, code.text.encode())


def _check_free(path: Path) -> None:
    """Refuse to write over a program of the user's."""
    if path.is_file() and not path.read_bytes().startswith(FIRST_WORDS.encode()):
        raise ExportError(f"'{path}' exists and was not exported by pbkd: choose another name.")
