"""docs/hooks.md is what the code says."""

from __future__ import annotations

from importlib import import_module

from pbkd.plugin.interfaces import PACKAGES
from pbkd.plugin.reference import hooks_markdown
from tests.paths import ROOT


def test_the_reference_of_hooks_is_the_code() -> None:
    assert (ROOT / "docs" / "hooks.md").read_text() == hooks_markdown(
        map(import_module, PACKAGES)
    ), "write it anew: pbkd plugins hooks > docs/hooks.md"
