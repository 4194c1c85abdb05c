"""Values that no configuration may hold: out of bounds, unknown, without a name."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ABOVE_ZERO", "CHOICES", "STRATEGIES", "check_values"]

ABOVE_ZERO = math.nextafter(0, 1)
STRATEGIES = ("partitioner", "builder", "scheduler", "launcher")
CHOICES = ("teacher", "data", *STRATEGIES, "model")

_OPTIMISERS = ("adamw", "sgd")
_NAMED = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "autocast": ("none", "bf16", "fp16"),
    "budget.harm": ("divergence", "drop", "loss"),
    "optimiser": _OPTIMISERS,
    "distill.optimiser": _OPTIMISERS,
    "finetune.optimiser": _OPTIMISERS,
}


def check_values(config: Any, bounds: Mapping[str, tuple[float, float]]) -> None:
    """Raise `ConfigError` for a number out of bounds, a strange device or a choice without name."""
    if "${" in repr(config):  # an escaped interpolation would be one again once it is saved
        raise ConfigError("a value holds an escaped '${': use a value without it.")
    _check_numbers(config, bounds)
    for key, names in _NAMED.items():
        value = attrgetter(key)(config) if hasattr(config, key.partition(".")[0]) else names[0]
        if value not in names:
            raise ConfigError(f"'{key}' is '{value}', but must be one of {', '.join(names)}.")
    _check_choices(config)


def _check_numbers(config: Any, bounds: Mapping[str, tuple[float, float]]) -> None:
    for key, (low, high) in bounds.items():
        value = attrgetter(key)(config)
        if key == "workers" and isinstance(value, str):
            if value != "auto":
                raise ConfigError(f"'workers' is '{value}', but must be a number or auto.")
            continue
        if value is not None and (not low <= value <= high or value == math.inf):
            least = "above 0" if low == ABOVE_ZERO else f"at least {low}"
            wanted = least if high == math.inf else f"between {low} and {high}"
            raise ConfigError(
                f"'{key}' is {value}, but must be {'finite' if value == math.inf else wanted}."
            )


def _check_choices(config: Any) -> None:
    choices = {key: getattr(config, key) for key in CHOICES if hasattr(config, key)}
    for key in ("meters", "candidates"):
        choices |= {f"{key}.{i}": one for i, one in enumerate(getattr(config, key, ()))}
    for key, choice in choices.items():
        name = choice.get("name") if isinstance(choice, dict) else choice
        if not isinstance(name, str) or not name:
            raise ConfigError(f"'{key}' is {name!r}, but must be a name.")
