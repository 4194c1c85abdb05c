"""Every fault in docs/reliability.md is proved by a test."""

from __future__ import annotations

from tests.docs.documents import section_of, table_rows
from tests.paths import ROOT


def test_every_fault_is_proved_by_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    faults = table_rows(section_of(text, "Failures, outcomes, tests"))
    assert len(faults) >= 35
    for fault, _, tests in faults:
        for test in tests.split("`, `"):
            path, _, name = test.partition("::")
            assert (ROOT / path).is_file(), f"{fault}: {test}"
            assert f"def {name}(" in (ROOT / path).read_text(), f"{fault}: {test}"
