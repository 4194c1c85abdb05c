"""The student's input and classes, as a section of the model card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.report.markdown import markdown_text

if TYPE_CHECKING:
    from pbkd.core.results import RunResult

__all__ = ["input_section"]

_MOST_NAMES = 100


def input_section(result: RunResult) -> list[str]:
    """Return Markdown on how pictures become the student's input, and the names of its classes.

    It is empty for results of older versions.
    """
    if not result.preparation:
        return []
    steps = "\n".join(
        f"{number}. {markdown_text(step)}" for number, step in enumerate(result.preparation, 1)
    )
    section = ["## Input and classes", steps]
    if result.class_names:
        names = map(markdown_text, result.class_names[:_MOST_NAMES])
        more = ", …" if len(result.class_names) > _MOST_NAMES else ""
        listed = ", ".join(f"{number} = {name}" for number, name in enumerate(names))
        section.append(f"Classes: {listed}{more}.")
    return section
