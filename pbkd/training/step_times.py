"""The seconds of some training steps: of the teacher's segments, and of each replacement."""

from __future__ import annotations

import statistics
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from pbkd.models.latency import synchronise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import torch
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle


__all__ = ["FEWEST_STEPS", "StepTimes"]

T = TypeVar("T")

_WARM_UP, _STEPS = 3, 12
FEWEST_STEPS = _WARM_UP + 3
"""The number of steps after which there are enough to take a median of."""


class StepTimes:
    """Times a job's first steps after a warm-up of three; later ones are left alone.

    Nothing that is computed changes. An accelerator is waited for in the steps that are timed.
    """

    def __init__(
        self, chain: nn.Sequential, device: torch.device, done: Callable[[StepTimes], None]
    ) -> None:
        """Time the segments of `chain` and what `training` is called for.

        Args:
            chain: The teacher.
            device: Its device.
            done: Called once, when the steps have been timed, or the epoch has ended.
        """
        self._chain, self._device, self._done = chain, device, done
        self._step = 0
        self._seconds: tuple[dict[str, list[float]], dict[str, list[float]]] = ({}, {})
        self._handles: list[RemovableHandle] = []

    @property
    def teacher(self) -> dict[str, float]:
        """Median seconds of the forward pass through each segment that was run."""
        return _medians(self._seconds[0])

    @property
    def training(self) -> dict[str, float]:
        """Median seconds of a training step of each candidate that was trained."""
        return _medians(self._seconds[1])

    def epoch(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass on the batches of the first epoch, and time some of its steps."""
        for batch in batches:
            if self._step == _WARM_UP:
                self._watch()
            yield batch
            self._step += 1
            if self._step == _WARM_UP + _STEPS:
                self._end()
        self._end()

    @contextmanager
    def train(self, name: str) -> Iterator[None]:
        """Time the body of the `with`, a training step of a candidate."""
        if not self._handles:
            yield
            return
        start = self._now()
        yield
        self._seconds[1].setdefault(name, []).append(self._now() - start)

    def _watch(self) -> None:
        starts: dict[str, float] = {}
        for name, segment in self._chain.named_children():

            def before(_segment: nn.Module, _inputs: object, name: str = name) -> None:
                starts[name] = self._now()

            def after(
                _segment: nn.Module, _inputs: object, _output: Tensor, name: str = name
            ) -> None:
                self._seconds[0].setdefault(name, []).append(self._now() - starts[name])

            self._handles.append(segment.register_forward_pre_hook(before))
            self._handles.append(segment.register_forward_hook(after))

    def _end(self) -> None:
        if self._handles:
            for handle in self._handles:
                handle.remove()
            self._handles = []
            if self._step >= FEWEST_STEPS:
                self._done(self)

    def _now(self) -> float:
        synchronise(self._device)
        return time.perf_counter()


def _medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(steps) for name, steps in seconds.items()}
