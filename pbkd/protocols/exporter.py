"""Exporters: the files in which a student is deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor


__all__ = ["Exporter"]


class Exporter(Protocol):
    """Writes a network in one format (`pbkd export --format NAME`)."""

    name: ClassVar[str]
    suffix: ClassVar[str]

    def write(self, subject: Any, path: Path) -> tuple[Sequence[Path], str | None]:
        """Write a network.

        Called by `pbkd export`, in the host process.

        Args:
            subject: The network, its preparation and an example, a `pbkd.models.Subject`.
            path: The file to write.

        Returns:
            The files that were written, and a remark for the user, if there is one.

        Raises:
            ExportError: The network cannot be written in this format.
        """
        ...

    def read(self, path: Path, subject: Any) -> Callable[[Tensor], Tensor]:
        """Read the file back, for the comparison with the network.

        Called by `pbkd export`, in the host process.

        Args:
            path: What `write` wrote.
            subject: What was written.

        Returns:
            A function of a batch of images (B, C, H, W) that returns logits (B, classes).
        """
        ...
