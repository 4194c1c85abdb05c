"""A check of HTML that a plugin wrote: it cannot break the page that it becomes a part of."""

from __future__ import annotations

from html.parser import HTMLParser

__all__ = ["markup_fault"]

_VOID = {"br", "col", "hr", "img", "input", "wbr"}
_FORBIDDEN = {
    "base", "body", "embed", "form", "frame", "head", "html", "iframe", "link", "main", "meta",
    "noscript", "object", "plaintext", "script", "style", "template", "textarea", "xmp",
}  # fmt: skip
_LOADING = {"background", "data", "poster", "src", "srcset", "xlink:href"}


def markup_fault(text: str) -> str | None:
    """Return what is wrong with HTML inside of a page; None if nothing is.

    Every element is closed, in order; nothing is loaded, and no script is run.

    Args:
        text: The HTML.

    Returns:
        A fault such as "HTML whose <div> is not closed".
    """
    tags = _Tags()
    tags.feed(text)
    if tags.rawdata.startswith("<"):
        return "HTML that ends within a tag"
    if tags.fault is None and tags.open:
        return f"HTML whose <{tags.open[-1]}> is not closed"
    return tags.fault


class _Tags(HTMLParser):
    """Follows the tags, and remembers the first fault."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []
        self.fault: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _FORBIDDEN:
            self._found(f"HTML with <{tag}>")
        for name, value in attrs:
            target = (value or "").strip().lower()
            if name.startswith("on") or target.startswith("javascript:"):
                self._found(f"HTML with a script in '{name}'")
            elif name in _LOADING and not target.startswith(("data:", "#")):
                self._found(f"HTML that loads what '{name}' names")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self._found(f"HTML with </{tag}> where none is open")

    def handle_comment(self, data: str) -> None:  # noqa: ARG002
        self._found("HTML with a comment")

    def handle_decl(self, decl: str) -> None:  # noqa: ARG002
        self._found("HTML with a declaration")

    def unknown_decl(self, data: str) -> None:
        self.handle_decl(data)

    def handle_pi(self, data: str) -> None:
        self.handle_decl(data)

    def _found(self, fault: str) -> None:
        self.fault = self.fault or fault
