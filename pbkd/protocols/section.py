"""Report sections: what a plugin adds to the report of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from markupsafe import Markup


__all__ = ["ReportSection"]


class ReportSection(Protocol):
    """Adds a section to the HTML report of a run."""

    name: ClassVar[str]
    title: ClassVar[str]

    def render(self, run: Any) -> Markup | str | None:
        """Return the section's content; text is escaped; None to leave the section out.

        Called by `pbkd report`, in the host process.

        Args:
            run: The run, a `pbkd.report.ReportData`.
        """
        ...
