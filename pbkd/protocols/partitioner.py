"""Partitioners: how a teacher is cut into blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import nn


__all__ = ["Partitioner"]


class Partitioner(Protocol):
    """Cuts a teacher into a chain of segments.

    A partitioner for networks of any family has a class attribute `fallback = True`:
    `partitioner=auto` tries it last.

    A partitioner that can cut larger segments has a class attribute `stages`, a mapping of the
    options with which it does, such as `{"granularity": "stage"}`. A run with `partitioner=auto`
    and `builder=auto` whose target limits cost or loss takes them for a network whose stages have
    more than two segments on average: there a stage can do without some of its layers.
    """

    name: ClassVar[str]

    def accepts(self, teacher: nn.Module) -> bool:
        """Return whether this partitioner supports the teacher's family; must not modify it.

        Called with `partitioner=auto`, until a partitioner accepts the teacher: in the host process
        before planning, and in every worker.

        Args:
            teacher: Any network.
        """
        ...

    def partition(self, teacher: nn.Module) -> nn.Sequential:
        """Return the teacher as a chain of named segments that computes the same function.

        Segments hold the teacher's own modules (no copies), map one tensor to one tensor, and do
        not modify their input. The core checks this and freezes the chain.

        Called once the teacher is loaded: in the host process before planning, in every worker,
        and when a student is loaded.

        Args:
            teacher: The network, in evaluation mode.
        """
        ...
