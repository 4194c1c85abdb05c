"""Schedulers: which worker trains which blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Schedule, Worker


__all__ = ["Scheduler"]


class Scheduler(Protocol):
    """Decides which worker trains which blocks."""

    name: ClassVar[str]

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        """Return a schedule with every block in exactly one job.

        Called in planning, in the host process: once, or once for each number of workers with
        `workers=auto`. With `scheduler=auto` every scheduler is called. `pbkd plan` calls it too.

        A method with a parameter `workload` also gets the training steps and the size of the cache,
        a `pbkd.Workload`, as a keyword.

        Args:
            costs: Measured costs of the blocks, in chain order.
            workers: The workers, in the order of their ranks.
        """
        ...
