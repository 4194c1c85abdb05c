"""How baselines are trained: methods, rates, seeds and time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pbkd.config.load import read_overrides
from pbkd.errors import ConfigError, did_you_mean
from pbkd.planning.training_length import FEW_IMAGES
from pbkd.runs.baselines import METHODS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


__all__ = ["EQUAL", "RATES", "BaselineEpoch", "BaselineSettings"]

RATES = {"adamw": ((0.001, 0.003), 0.05), "sgd": ((0.01, 0.1), 0.0005)}
"""Peak learning rates to choose from, and weight decay from random weights, by optimiser."""
EQUAL = ("macs", "milliseconds")
"""In what a pruned network may equal the student."""
_MOVABLE = ("teacher.weights", "data.path")
_READY, _TEACHER = "ready", "teacher"


class BaselineEpoch(NamedTuple):
    """Progress of a baseline, after an epoch."""

    method: str
    lr: float
    seed: int
    epoch: int
    epochs: int
    loss: float
    score: float


@dataclass(frozen=True, kw_only=True)
class BaselineSettings:
    """How baselines are trained.

    Attributes:
        methods: The methods, of `METHODS`.
        overrides: `teacher.weights=FILE` or `data.path=PLACE`, if files have moved; `ready=NAME`
            and `ready.OPTION=VALUE` name the ready network.
        equal: In what a pruned network equals the student, of `EQUAL`.
        seconds: Seconds of each training; None for as much time as the run's training phases.
        optimiser: The optimiser's name.
        lr: Peak learning rate; None for the best one in `RATES`.
        seeds: Number of seeds, from 0; None for the run's own.
        command: The command line, for the record.
        trust: Files and folders whose code runs, see `open_run`.

    Raises:
        ConfigError: If a value is invalid.
    """

    methods: Sequence[str] = ("same-start",)
    overrides: Sequence[str] = ()
    equal: str = "macs"
    seconds: float | None = None
    optimiser: str = "adamw"
    lr: float | None = None
    seeds: int | None = None
    command: str = ""
    trust: Sequence[Path] = ()

    def __post_init__(self) -> None:
        """Check the values."""
        for what, names, known in (
            ("method", self.methods, METHODS),
            ("cost for --equal", (self.equal,), EQUAL),
        ):
            for name in names:
                if name not in known:
                    raise ConfigError(f"unknown {what} '{name}'.{did_you_mean(name, known)}")
        for option, value in (("--seconds", self.seconds), ("--lr", self.lr)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{option} is {value}, but must be above 0 and finite.")
        if self.seeds is not None and self.seeds < 1:
            raise ConfigError(f"--seeds is {self.seeds}, but must be 1 or more.")
        self._check_overrides()

    @property
    def rates(self) -> tuple[float, ...]:
        """The peak learning rates to choose from.

        Raises:
            ConfigError: If none is known for the optimiser.
        """
        if self.lr is not None:
            return (self.lr,)
        if self.optimiser not in RATES:
            raise ConfigError(
                f"the optimiser '{self.optimiser}' has no default learning rates here: give --lr."
            )
        return RATES[self.optimiser][0]

    def rates_for(self, images: int) -> tuple[float, ...]:
        """The peak learning rates to choose from, for a number of training images.

        Few images need lower ones, see docs/few-images.md.
        """
        rates = self.rates
        if self.lr is not None or images >= FEW_IMAGES:
            return rates
        return (rates[0] / 10, 3 * rates[0] / 10, *rates)

    @property
    def ready(self) -> dict[str, Any] | None:
        """The choice of a ready network, as a teacher's; None if none was named."""
        named = [_TEACHER + w.removeprefix(_READY) for w in self.overrides if _is_ready(w)]
        choice: dict[str, Any] | None = read_overrides(named).get(_TEACHER)
        return choice

    @property
    def moved(self) -> list[str]:
        """The overrides of the run's configuration."""
        return [word for word in self.overrides if not _is_ready(word)]

    def _check_overrides(self) -> None:
        for override in self.moved:
            key = override.partition("=")[0]
            if key not in _MOVABLE:
                raise ConfigError(
                    f"'{key}' cannot be changed: a baseline has the configuration of its run, in"
                    f" which only {' and '.join(_MOVABLE)} may have moved."
                )
        if self.ready is None:
            return
        if "name" not in self.ready:
            raise ConfigError("ready.OPTION=VALUE is an option of no network: add ready=NAME.")
        if _READY not in self.methods:
            raise ConfigError("ready=NAME names the network of a method: add --against ready.")


def _is_ready(override: str) -> bool:
    return override.partition("=")[0].partition(".")[0] == _READY
