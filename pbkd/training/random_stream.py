"""The random numbers that a network draws in training, such as for dropout."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from pbkd.core.seeding import derive_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


__all__ = ["RandomStream"]


class RandomStream:
    """Random numbers of one network, which depend on nothing else that the process draws.

    Without it, a replacement with dropout would depend on the blocks that share its worker, and a
    resumed run on the moment at which it was stopped.
    """

    def __init__(self, device: torch.device, seed: int, *parts: str | int) -> None:
        """Name the stream.

        Args:
            device: Where the network is.
            seed: The run's seed.
            parts: The name of the stream, such as phase and candidate.
        """
        self._seed, self._parts = seed, parts
        self._devices = [torch.device("cpu")]
        if device.type not in ("cpu", "meta"):
            self._devices.append(device)
        self._states: list[Tensor] = []

    def begin(self, epoch: int) -> None:
        """Get ready for an epoch: a resumed one draws the same numbers."""
        seed = derive_seed(self._seed, *self._parts, "draws", epoch)
        self._states = [
            torch.Generator(device).manual_seed(seed).get_state() for device in self._devices
        ]
        self._is_first = True

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw from this stream within the context, a training step; others are left alone.

        A network that draws nothing in the first step of an epoch costs nothing in the others.
        """
        if not self._states:
            yield
            return
        outside = self._current()
        self._restore(self._states)
        try:
            yield
        finally:
            found = self._current()
            self._restore(outside)
            idle = self._is_first and all(map(torch.equal, found, self._states))
            self._states, self._is_first = [] if idle else found, False

    def _current(self) -> list[Tensor]:
        return [_state(device) for device in self._devices]

    def _restore(self, states: list[Tensor]) -> None:
        for device, state in zip(self._devices, states, strict=True):
            if device.type == "cpu":
                torch.set_rng_state(state)
            else:
                torch.get_device_module(device).set_rng_state(state, device)


def _state(device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.get_rng_state()
    state: Tensor = torch.get_device_module(device).get_rng_state(device)
    return state
