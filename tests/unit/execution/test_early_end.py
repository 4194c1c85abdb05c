from __future__ import annotations

from pathlib import Path

import pytest

from pbkd.execution.early_end import EarlyEnd
from pbkd.execution.store import open_store, private_store
from pbkd.execution.torchrun import store_key
from pbkd.runs.split_request import request_split, withdraw_split


def test_a_worker_ends_after_the_epoch_in_which_the_request_came(tmp_path: Path) -> None:
    end = EarlyEnd(tmp_path, 5)
    seen = []
    for epoch in end.before_end(iter(range(5)), 0):
        seen.append(epoch)
        if epoch == 2:
            request_split(tmp_path)
    assert seen == [0, 1, 2]
    assert end.has_come
    withdraw_split(tmp_path)
    assert end.is_after(3)  # what was decided stays


def test_the_last_epoch_is_the_end_anyhow(tmp_path: Path) -> None:
    request_split(tmp_path)
    end = EarlyEnd(tmp_path, 3)
    assert list(end.before_end(iter([2]), 2)) == [2]
    assert not end.has_come


def test_all_workers_of_a_relay_end_after_the_epoch_that_the_first_one_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with private_store() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        first = EarlyEnd(tmp_path, 9, "teacher-fed", decides=True)
        other = EarlyEnd(tmp_path, 9, "teacher-fed", decides=False)
        assert not first.is_after(1)
        request_split(tmp_path)
        assert not other.is_after(1)  # it follows, though it sees the request earlier
        assert first.is_after(2) and other.is_after(2)


def test_workers_follow_whatever_their_machines_counted_of_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun does not count a restart because a machine joined or left."""
    monkeypatch.setenv("PBKD_LAUNCH_ID", "the second")
    with private_store() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        request_split(tmp_path)
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
        assert EarlyEnd(tmp_path, 9, "teacher-fed", decides=True).is_after(1)
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
        assert open_store().check([store_key("teacher-fed/ends/1")])  # else the next line waits
        assert EarlyEnd(tmp_path, 9, "teacher-fed", decides=False).is_after(1)
