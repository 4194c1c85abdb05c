"""Data sources: where images and labels come from."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

__all__ = ["DataSource"]


class DataSource(Protocol):
    """A data set that a configuration can name."""

    name: ClassVar[str]

    def load(self) -> Any:
        """Load the data set.

        Called in planning, in the host process, and in every worker.

        Returns:
            A `pbkd.data.Dataset`, or what `compress(data=...)` accepts.

        Raises:
            DataError: It is missing or invalid.
        """
        ...
