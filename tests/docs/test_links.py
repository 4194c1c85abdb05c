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
            assert (document.parent / target).exists(), target


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    picture = ElementTree.parse(ROOT / "docs" / "method.svg")
    tags = {element.tag.rpartition("}")[2] for element in picture.iter()}
    assert not tags & {"image", "script", "use", "foreignObject"}
    text = (ROOT / "docs" / "method.svg").read_text()
    assert not re.search(r"url\(|@import|@font-face|href", text)
    assert "prefers-color-scheme: dark" in text
