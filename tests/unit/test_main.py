"""`python -m pbkd`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

import pbkd

MAIN = Path(pbkd.__file__).with_name("__main__.py")


@pytest.mark.parametrize("first", ["current", "other"])
def test_modules_of_the_current_folder_are_not_found(
    first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    added = str(tmp_path if first == "current" else tmp_path / "other")
    monkeypatch.setattr(sys, "path", [added, *sys.path])
    monkeypatch.setattr(sys, "argv", ["__main__.py", "status", "missing"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(MAIN), run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("pbkd: ")
    assert (added in sys.path) == (first == "other")
