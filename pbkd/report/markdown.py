"""Text within a Markdown document that has no meaning for Markdown; its tables and code."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from pbkd.core.terminal_text import terminal_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["markdown_code", "markdown_table", "markdown_text"]

# Characters that mean something anywhere in a line, and what makes an address a link on GitHub. One
# underscore between letters means nothing.
_ANYWHERE = re.compile(
    r"[\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE
)
_AT_THE_START = re.compile(r"^(?:[#+=-]|\d+(?=[.)]))")


def markdown_text(text: str) -> str:
    """Write text on one line, so that Markdown shows it as it is: no links, HTML or tables."""
    return _AT_THE_START.sub(_escaped_start, _within_line(text))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table, whose cells Markdown shows as they are."""
    lines = [map(_within_line, head), ["---"] * len(head), *(map(_within_line, r) for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_code(text: str) -> str:
    """Write text as a block of code, which ends after it and not within it."""
    plain = terminal_text(text)
    fence = "`" * max(map(len, chain(["``"], re.findall("`+", plain)))) + "`"
    return f"{fence}\n{plain}\n{fence}"


def _within_line(text: str) -> str:
    line = " ".join(terminal_text(text).split())
    return _ANYWHERE.sub(r"\\\g<0>", line.replace("&", "&amp;"))


def _escaped_start(match: re.Match[str]) -> str:
    start = match[0]
    return f"{start}\\" if start.isdigit() else f"\\{start}"
