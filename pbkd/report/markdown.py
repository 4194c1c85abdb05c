"""Text within a Markdown document that has no meaning for Markdown."""

from __future__ import annotations

import re

from pbkd.core.terminal_text import terminal_text

__all__ = ["markdown_text"]

# Characters that mean something anywhere in a line. An underscore between letters means nothing.
_ANYWHERE = re.compile(r"[\\`*\[\]<>|~]|(?<!\w)_|_(?!\w)")
_AT_THE_START = re.compile(r"^(?:[#+=-]|\d+(?=[.)]))")


def markdown_text(text: str) -> str:
    """Write text on one line, so that Markdown shows it as it is: no links, HTML or tables."""
    line = " ".join(terminal_text(text).split())
    escaped = _ANYWHERE.sub(r"\\\g<0>", line.replace("&", "&amp;"))
    return _AT_THE_START.sub(_escaped_start, escaped)


def _escaped_start(match: re.Match[str]) -> str:
    start = match[0]
    return f"{start}\\" if start.isdigit() else f"\\{start}"
