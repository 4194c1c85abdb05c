"""A self-contained HTML page with inline style and script."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from pbkd.report.markup import Markup, element, join

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Section", "page"]


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading; `key` is its id, the target of the navigation."""

    key: str
    heading: str
    content: Markup


def page(title: str, verdict: str, sections: Sequence[Section]) -> str:
    """Return the page as text.

    Its content security policy blocks all requests and all scripts but the page's own: untrusted
    names from a run folder could do nothing even without the escaping.

    Args:
        title: The title and heading.
        verdict: The paragraph below it.
        sections: The content.
    """
    style, script = _resource("page.css"), _resource("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}';"
        f" script-src '{_hash(script)}'"
    )
    head = join(
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<link rel="icon" href="data:,">'),  # or the browser asks the server for one
        element("title", title),
        element("style", style),
    )
    links = (element("a", section.heading, href=f"#{section.key}") for section in sections)
    switch = element("button", "Dark", id="theme", type="button", hidden=True)
    body = join(
        element("header", element("h1", title), switch),
        element("p", verdict, class_="verdict"),
        element("nav", *links),
        element("main", *map(_section, sections)),
        element("script", script),
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _section(section: Section) -> Markup:
    heading = element("h2", section.heading)
    return join(element("section", heading, section.content, id=section.key), "\n")


def _resource(name: str) -> Markup:
    return Markup(files("pbkd.report").joinpath(name).read_text(encoding="utf-8"))


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
