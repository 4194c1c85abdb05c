"""The notebook runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.docs.documents import Example, relative_name
from tests.docs.shell import BIN, environment_of, run_in_process
from tests.paths import ROOT


@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.ipynb")), ids=relative_name)
@pytest.mark.slow
def test_every_notebook_runs(document: Path, tmp_path: Path) -> None:
    """For a few epochs, which are enough for what the notebook asserts."""
    cells = json.loads(document.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    code = re.sub(r'(epochs": )\d+', r"\g<1>2", code)
    output = run_in_process(Example("python", code, None), tmp_path, environment_of(BIN))
    assert "agreement with the teacher" in output
