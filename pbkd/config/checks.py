"""Checks of configuration values: ranges of numbers, permitted names, complete choices."""

from __future__ import annotations

import math
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pbkd.config.options import named_choice
from pbkd.config.schema import CHOICES, LISTS
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["ABOVE_ZERO", "LIMITS", "RUN_BOUNDS", "check_values"]

ABOVE_ZERO = math.nextafter(0, 1)
"""Lower bound that excludes 0: the smallest positive float."""
RUN_BOUNDS = {
    "workers": (1, 1024),
    "threads": (1, 1024),
    "batch_size": (2, 2**20),  # BatchNorm needs two
    "views": (0, math.inf),
    "cache_gigabytes": (0, math.inf),
    "recalibrate_batches": (0, math.inf),
    "distill.epochs": (1, math.inf),
    "distill.student_fed_epochs": (0, math.inf),
    "distill.lr": (ABOVE_ZERO, math.inf),
    "distill.weight_decay": (0, math.inf),
    "finetune.epochs": (0, math.inf),
    "finetune.lr": (ABOVE_ZERO, math.inf),
    "finetune.weight_decay": (0, math.inf),
    "target.max_drop": (0, 100),
    "target.block_drop": (0, 100),
    "target.macs": (ABOVE_ZERO, 1),
    "target.parameters": (ABOVE_ZERO, 1),
    "target.bytes": (ABOVE_ZERO, math.inf),
    "target.speedup": (ABOVE_ZERO, math.inf),
    "target.latency_ms": (ABOVE_ZERO, math.inf),
    "target.batch": (1, 2**20),
}
"""Lowest and highest value of the numbers in a `RunConfig`, by key."""
_PERMITTED = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "autocast": ("none", "bf16", "fp16"),
    "target.harm": ("divergence", "drop", "loss"),
}
LIMITS = ("macs", "parameters", "bytes", "speedup", "latency_ms")
"""The fields of `target` that limit what a student may cost."""


def check_values(config: Any, bounds: Mapping[str, tuple[float, float]]) -> None:
    """Check the values of a configuration, whose types are correct already.

    Args:
        config: A configuration dataclass, such as `RunConfig`.
        bounds: Lowest and highest permitted value (inclusive) of each number, by dotted key.

    Raises:
        ConfigError: A number is out of bounds, a name is unknown, or a choice has no name.
    """
    _check_numbers(config, bounds)
    for key, permitted in _PERMITTED.items():
        if not hasattr(config, key.partition(".")[0]):
            continue
        value = attrgetter(key)(config)
        if value not in permitted:
            raise ConfigError(f"'{key}' is '{value}', but must be one of {', '.join(permitted)}.")
    if hasattr(config, "out") and not config.out:
        raise ConfigError("'out' is empty, but must be a folder.")
    _check_choices(config)
    _check_curve(getattr(config, "target", None))


def _check_curve(target: Any) -> None:
    """Check the shares of a curve, which has no other limits."""
    shares = getattr(target, "curve", None)
    if shares is None:
        return
    if not shares or len({f"{share:g}" for share in shares}) < len(shares):
        raise ConfigError("'target.curve' must have one share or more, none of them twice.")
    if not all(ABOVE_ZERO <= share <= 1 for share in shares):
        raise ConfigError(f"'target.curve' is {shares}, but each share must be above 0, at most 1.")
    if others := [f"target.{key}" for key in LIMITS if getattr(target, key) is not None]:
        raise ConfigError(
            f"'target.curve' limits the MACs of each student: leave {' and '.join(others)} out."
        )


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
    choices = {}
    for key in CHOICES:
        with suppress(AttributeError):  # a recipe of training has fewer keys than a run
            choices[key] = attrgetter(key)(config)
    for key in (*LISTS, "candidates"):
        choices |= {f"{key}.{i}": entry for i, entry in enumerate(getattr(config, key, None) or ())}
    for key, choice in choices.items():
        name = named_choice(choice).get("name")
        if not isinstance(name, str) or not name:
            raise ConfigError(f"'{key}' is {name!r}, but must be a name.")
    for key in ("observers", "exports"):
        _check_different(key, getattr(config, key, ()))


def _check_different(key: str, choices: Sequence[Any]) -> None:
    """Refuse a strategy that is named twice with the same options: it would do all twice."""
    seen: list[Any] = []
    for choice in choices:
        named = named_choice(choice)
        if named in seen:
            raise ConfigError(f"'{key}' has '{named['name']}' twice: name it once.")
        seen.append(named)
