"""The state of a program's random number generators, which reading its data leaves as it was."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["kept_random_state"]


@contextmanager
def kept_random_state(loader: Any) -> Iterator[None]:
    """Restore all random number generators that a pass over a loader draws from.

    These are the global ones of torch (on the CPU), numpy and Python, and those among the
    attributes of the loader, its samplers and its data set. The program's next pass over the loader
    thus gets the order and the random changes of the pass in this context.

    Args:
        loader: A `DataLoader`, a data set, or anything else.
    """
    parts = [loader, *(getattr(loader, name, None) for name in ("sampler", "dataset"))]
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts += [batch_sampler, getattr(batch_sampler, "sampler", None)]
    states = [state for part in parts for state in _states_in(part)]
    everywhere, numpys, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(everywhere)
        np.random.set_state(numpys)
        torch.set_rng_state(torchs)
        for generator, state in states:
            _set_state(generator, state)


def _states_in(part: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    for value in list(getattr(part, "__dict__", {}).values()):
        if isinstance(value, torch.Generator):
            found.append((value, value.get_state()))
        elif isinstance(value, np.random.Generator):
            found.append((value, value.bit_generator.state))
        elif isinstance(value, np.random.RandomState):
            found.append((value, value.get_state()))
        elif isinstance(value, random.Random):
            found.append((value, value.getstate()))
    return found


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)
