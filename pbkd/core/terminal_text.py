"""Text for a terminal: without the characters that control it or hide what is written."""

from __future__ import annotations

import io
import unicodedata
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["clean_stream", "terminal_text"]

_LINES = "\n\t"


def terminal_text(text: str) -> str:
    """Strip what would control a terminal, reorder text or hide it.

    Newlines, tabs and every printable character stay. Other kinds of spaces become a space, half
    surrogates (bytes of a name that are not UTF-8) U+FFFD. Everything else is removed: C0 and C1
    controls, which also begin the ANSI escape sequences, bidirectional overrides, zero-width
    characters.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in _LINES else _replacement(char) for char in text
    )


def _replacement(char: str) -> str:
    category = unicodedata.category(char)
    return {"Zs": " ", "Zl": " ", "Zp": " ", "Cs": "\N{REPLACEMENT CHARACTER}"}.get(category, "")


def clean_stream(stream: IO[str]) -> TextIO:
    """Return a stream that passes `terminal_text` of everything on to `stream`.

    What `stream` cannot encode is written as an escape sequence of Python. A rich console writes
    past it, because it has its own control codes: use `pbkd.report.console.display.open_console`.
    """
    if isinstance(stream, _CleanStream):
        return cast("TextIO", stream)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return cast("TextIO", _CleanStream(stream))


class _CleanStream:
    """The stream of `clean_stream`; all but writing is left to the stream below it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.rich_proxied_file = getattr(stream, "rich_proxied_file", stream)

    def write(self, text: str) -> int:
        self._stream.write(terminal_text(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
