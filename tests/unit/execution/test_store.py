from __future__ import annotations

from multiprocessing import process, util
from pathlib import Path

import pytest

from pbkd.execution.store import _temporary_folder


def test_the_fork_server_may_remove_the_temporary_folder_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(vars(process.current_process())["_config"], "tempdir", None)
    registered = vars(util)["_finalizer_registry"]
    before = set(registered.values())
    folder = Path(_temporary_folder())
    assert util.get_temp_dir() == str(folder)
    folder.rmdir()
    (at_exit,) = set(registered.values()) - before
    at_exit()
