"""Test images that the student classifies differently from its teacher: counts and examples."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from pbkd.report.markup import Markup, element, join, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.runs.disagreements import Answer, Changes


__all__ = ["changed_predictions"]


def changed_predictions(changes: Changes | None, names: Sequence[str] | None) -> Markup:
    """Return a summary, the most frequent changes of class, and example images.

    Args:
        changes: The changes; None if they are not recorded.
        names: The name of every class; None for their numbers in the data.
    """
    if changes is None:
        why = "Not recorded: the run's folder has no changes.json."
        return element("p", why, class_="why")
    rows: list[tuple[object, ...]] = [
        (*_classes(answer, names), f"{answer.count:,}") for answer in changes.confusions
    ]
    heads = ("label", "teacher's class", "student's class", "images")
    shown = [_example(answer, names) for answer in changes.examples if answer.png]
    numbers = "" if names or not changes.changed else " Class numbers are those in the data."
    parts = [element("p", _sentence(changes) + numbers)]
    if rows:
        parts.append(table(heads, rows))
    if shown:
        parts.append(element("div", *shown, class_="thumbs"))
    elif rows:
        parts.append(
            element("p", "No pictures: the images are not 8-bit grey or RGB.", class_="why")
        )
    return join(*parts)


def _sentence(changes: Changes) -> str:
    if not changes.changed:
        return f"Student and teacher predict the same class for all {changes.images:,} test images."
    said = f"The prediction changed for {changes.changed:,} of {changes.images:,} test images"
    if changes.gained is None or changes.lost is None:
        return f"{said}; without labels it is unknown which predictions are correct."
    return (
        f"{said}: {changes.lost:,} correct ones became wrong, {changes.gained:,} wrong ones became"
        " correct, and the others are wrong in both networks."
    )


def _example(answer: Answer, names: Sequence[str] | None) -> Markup:
    label, teacher, student = _classes(answer, names)
    source = f"data:image/png;base64,{base64.b64encode(answer.png).decode()}"
    picture = Markup(f'<img src="{source}" alt="" width="64">')
    return element("figure", picture, element("figcaption", f"{label}: {teacher} to {student}"))


def _classes(answer: Answer, names: Sequence[str] | None) -> tuple[str, str, str]:
    """Name the label, the teacher's class and the student's."""
    teacher, student = (_class(number, names) for number in (answer.teacher, answer.student))
    label = "no label" if answer.label is None else _class(answer.label, names)
    return label, teacher, student


def _class(number: int, names: Sequence[str] | None) -> str:
    return names[number] if names and number < len(names) else str(number)
