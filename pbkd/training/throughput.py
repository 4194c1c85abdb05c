"""How fast a training goes: told of as it begins, and then every few seconds by its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["Pace", "begin_job"]

_EVERY = 5.0  # seconds
Pace = Callable[[Iterable[Any]], Iterator[Any]]


def begin_job(
    tell: Callable[..., None],
    phase: str,
    blocks: Sequence[str],
    *,
    begun: int,
    epochs: int,
    steps: int,
    images: int,
) -> Pace:
    """Tell of a job that goes on after `begun` of its `epochs`; return what counts its steps.

    An epoch has so many `steps` of so many `images` each. What is returned hands on the items of
    each epoch; `tell` gets the count, from the first epoch on, at most once in five seconds. A step
    counts when the next one is asked for, so that nothing waits for the device.
    """
    sizes = {"begun": begun, "epochs": epochs, "steps": steps, "images": images}
    tell("job", phase=phase, blocks=list(blocks), **sizes)
    done, told = begun * steps, time.monotonic()

    def counted(items: Iterable[Any]) -> Iterator[Any]:
        nonlocal done, told
        for item in items:
            yield item
            done += 1
            if time.monotonic() - told >= _EVERY:
                told = time.monotonic()
                tell("steps", phase=phase, steps=done)

    return counted
