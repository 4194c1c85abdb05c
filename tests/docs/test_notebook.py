"""The notebook runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.documents import relative_name
from tests.paths import ROOT


@pytest.mark.slow  # a minute of training in a process of its own
@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.ipynb")), ids=relative_name)
def test_every_notebook_runs(document: Path, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs pip install 'pbkd[dev-full]'")
    nbformat = pytest.importorskip("nbformat", reason="needs pip install 'pbkd[dev-full]'")
    notebook = nbformat.read(document, as_version=4)
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
