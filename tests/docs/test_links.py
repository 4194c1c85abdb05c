"""Links lead somewhere; the picture needs nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.documents import DOCUMENTS, relative_name
from tests.paths import ROOT


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative_name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if not target.startswith("https://"):
            path, _, section = target.partition("#")
            page = document.parent / path if path else document
            assert page.exists(), target
            assert not section or section in _sections(page), target


def _sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs write simple ones."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    picture = ElementTree.parse(ROOT / "docs" / "method.svg")
    tags = {element.tag.rpartition("}")[2] for element in picture.iter()}
    assert not tags & {"image", "script", "use", "foreignObject"}
    text = (ROOT / "docs" / "method.svg").read_text()
    assert not re.search(r"url\(|@import|@font-face|href", text)
    assert "prefers-color-scheme: dark" in text
