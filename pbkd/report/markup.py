"""HTML and SVG as text: whatever is put into an element is escaped, unless it is an element."""

from __future__ import annotations

import html

__all__ = ["Markup", "element", "join", "table"]


class Markup(str):
    """Text that is HTML or SVG already, and is not escaped again."""

    __slots__ = ()


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """Return an element with its children in order; what is no `Markup` is text, and is escaped.

    In attributes' names `_` stands for `-`, and one at the end is dropped (`class_`). One that is
    None is left out, one that is True has no value.
    """
    named = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_escaped(value)}"')
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{named}>{join(*children)}</{tag}>")


def join(*children: object) -> Markup:
    """Return children one after another, those that are text escaped."""
    return Markup("".join(map(_escaped, children)))


def table(heads: tuple[str, ...], rows: list[tuple[object, ...]], **attributes: object) -> Markup:
    """Return a table that scrolls by itself where it is too wide; a row's first cell names it."""
    head = element("tr", *(element("th", head, scope="col") for head in heads))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", c) for c in row[1:]))
        for row in rows
    ]
    whole = element("table", element("thead", head), element("tbody", *body), **attributes)
    return element("div", whole, class_="wide", tabindex="0")


def _escaped(value: object) -> str:
    return value if isinstance(value, Markup) else html.escape(str(value))
