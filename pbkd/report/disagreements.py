"""Test images that the student classifies differently from its teacher: counts and examples."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from pbkd.report.markup import Markup, element, join, table

if TYPE_CHECKING:
    from pbkd.runs.disagreements import Answer, Changes


__all__ = ["changed_predictions"]


def changed_predictions(changes: Changes | None) -> Markup:
    """Return a summary, the most frequent changes of class, and example images."""
    if changes is None:
        why = "Not recorded: the run's folder has no changes.json."
        return element("p", why, class_="why")
    rows: list[tuple[object, ...]] = [
        (_class(answer.label), answer.teacher, answer.student, f"{answer.count:,}")
        for answer in changes.confusions
    ]
    heads = ("label", "teacher's class", "student's class", "images")
    shown = [_example(answer) for answer in changes.examples if answer.png]
    parts = [element("p", _sentence(changes))]
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
        " correct, and the others are wrong in both networks. Class numbers are those in the data."
    )


def _example(answer: Answer) -> Markup:
    said = f"{_class(answer.label)}: {answer.teacher} to {answer.student}"
    source = f"data:image/png;base64,{base64.b64encode(answer.png).decode()}"
    picture = Markup(f'<img src="{source}" alt="" width="64">')
    return element("figure", picture, element("figcaption", said))


def _class(label: int | None) -> str:
    return "no label" if label is None else str(label)
