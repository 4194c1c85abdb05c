"""What docs/reliability.md and docs/security.md claim is proved by tests."""

from __future__ import annotations

import pytest

from tests.docs.documents import section_of, table_rows
from tests.paths import ROOT

PAGES = {
    "reliability.md": ["Failures, outcomes, tests"],
    "security.md": ["Network", "Files", "Plugins", "Runs"],
}


@pytest.mark.parametrize("page", PAGES)
def test_every_claim_is_proved_by_a_test_that_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    claims = [row for section in PAGES[page] for row in table_rows(section_of(text, section))]
    assert len(claims) >= 7
    for claim, _, tests in claims:
        for test in tests.split("`, `"):
            path, _, name = test.partition("::")
            assert (ROOT / path).is_file(), f"{claim}: {test}"
            assert f"def {name}(" in (ROOT / path).read_text(), f"{claim}: {test}"
