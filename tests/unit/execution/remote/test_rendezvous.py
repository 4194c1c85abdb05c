from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from pbkd.errors import WorkerError
from pbkd.execution.remote import rendezvous as meeting

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

WORLD = 3


class Ranks:
    """Three ranks of torchrun, each a thread: who was host, who followed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = HashStore()
        self.store.set_timeout(timedelta(seconds=20))
        self.hosts: dict[int, list[int]] = {}
        self.followers: list[int] = []
        self.errors: list[BaseException] = []
        self._own = threading.local()
        monkeypatch.setenv("MASTER_ADDR", "localhost")
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
        monkeypatch.setattr(meeting, "rendezvous", self._rendezvous)
        monkeypatch.setattr(meeting, "follow", self._follow)

    def _rendezvous(self, _url: str) -> list[tuple[HashStore, int, int]]:
        return [(self.store, self._own.rank, WORLD)]

    def _follow(self, connection: Connection, _patience: float) -> None:
        while connection.recv()[0] != "end":
            pass
        self.followers.append(self._own.rank)

    def _meet(self, rank: int, folder: Path | None) -> None:
        self._own.rank = rank
        try:
            with meeting.meet(folder, patience=20) as host:
                if host is not None:
                    self.hosts[rank] = sorted(host._lines)
        except BaseException as error:
            self.errors.append(error)

    def meet(self, holders: set[int]) -> None:
        """Have all ranks meet, of which `holders` hold a run's folder."""
        threads = [
            threading.Thread(target=self._meet, args=(rank, Path() if rank in holders else None))
            for rank in range(WORLD)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert self.errors == []


@pytest.mark.parametrize(
    ("holders", "host"), [(set(), 0), ({0}, 0), ({1}, 1), ({2}, 2), ({1, 2}, 1)]
)
def test_whoever_holds_the_runs_folder_is_the_host(
    holders: set[int], host: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = Ranks(monkeypatch)
    ranks.meet(holders)
    assert ranks.hosts == {host: [1, 2]}  # it is worker 0
    assert sorted(ranks.followers) == [rank for rank in range(WORLD) if rank != host]


def test_the_door_of_an_earlier_start_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks(monkeypatch)
    ranks.store.set("pbkd/door", '["localhost", 9, "key"]')
    ranks.meet(set())
    assert ranks.hosts == {0: [1, 2]}


def test_who_does_not_come_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks(monkeypatch)
    monkeypatch.setattr(meeting, "_ARRIVAL", 0.2)
    ranks._meet(0, None)
    (error,) = ranks.errors
    assert isinstance(error, WorkerError)
    assert "of 3 processes 2 did not reach" in str(error)
    for thread in threading.enumerate():
        if thread.name == "pbkd-arrivals":
            thread.join(10)
            assert not thread.is_alive()
