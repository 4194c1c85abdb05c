"""HTML and SVG as text; everything in an element is escaped, unless it is an element itself."""

from __future__ import annotations

import html

from pbkd.core.terminal_text import terminal_text

__all__ = ["Markup", "element", "html_text", "join", "table"]


class Markup(str):
    """Text that is HTML or SVG already and is not escaped again."""

    __slots__ = ()


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """Return an element.

    Args:
        tag: Its tag.
        children: Its content, in order; anything but `Markup` is escaped.
        attributes: Its attributes. In names, `_` becomes `-` and a final `_` is dropped
            (`class_`). None leaves the attribute out, True gives it no value.
    """
    named = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_escaped(value)}"')
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{named}>{join(*children)}</{tag}>")


def join(*children: object) -> Markup:
    """Concatenate children; anything but `Markup` is escaped."""
    return Markup("".join(map(_escaped, children)))


def table(heads: tuple[str, ...], rows: list[tuple[object, ...]], **attributes: object) -> Markup:
    """Return a table that scrolls if it is too wide; the first cell of a row is its heading."""
    head = element("tr", *(element("th", head, scope="col") for head in heads))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", c) for c in row[1:]))
        for row in rows
    ]
    whole = element("table", element("thead", head), element("tbody", *body), **attributes)
    return element("div", whole, class_="wide", tabindex="0")


def html_text(text: str) -> str:
    """Write text so that it shows as it is in HTML and SVG, without control characters."""
    return html.escape(terminal_text(text))


def _escaped(value: object) -> str:
    return value if isinstance(value, Markup) else html_text(str(value))
