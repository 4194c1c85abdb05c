from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pbkd.runs.lock import has_same_parent, locked

if TYPE_CHECKING:
    from pathlib import Path


def hold(folder: Path) -> None:
    with locked(folder):
        pass


def test_a_run_tells_whether_this_processs_parent_began_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not has_same_parent(tmp_path)
    hold(tmp_path)
    assert has_same_parent(tmp_path)
    monkeypatch.setattr(os, "getppid", os.getpid)
    assert not has_same_parent(tmp_path)


@pytest.mark.parametrize("parent", [0, 2**22 + 1])
def test_a_parent_that_cannot_be_seen_is_nobodys(
    parent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process of a container has the parent 0."""
    monkeypatch.setattr(os, "getppid", lambda: parent)
    hold(tmp_path)
    assert not has_same_parent(tmp_path)
