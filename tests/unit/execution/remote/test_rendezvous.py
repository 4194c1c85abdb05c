from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from pbkd.errors import WorkerError
from pbkd.execution.remote import rendezvous as rendezvous_module
from pbkd.execution.remote.messages import End
from tests.cluster_peers import SECRET

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.execution.remote.channel import Channel

WORLD = 3


class Ranks:
    """Three ranks of torchrun, each a thread: the coordinators and the followers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = HashStore()
        self.store.set_timeout(timedelta(seconds=20))
        self.coordinators: dict[int, list[int]] = {}
        self.followers: list[int] = []
        self.errors: list[BaseException] = []
        self._own = threading.local()
        monkeypatch.setenv("MASTER_ADDR", "localhost")
        monkeypatch.setenv("PBKD_SECRET", SECRET.decode())
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
        monkeypatch.setattr(rendezvous_module, "torch_rendezvous", self._rendezvous)
        monkeypatch.setattr(rendezvous_module, "follow", self._follow)

    def _rendezvous(self, _url: str) -> list[tuple[HashStore, int, int]]:
        return [(self.store, self._own.rank, WORLD)]

    def _follow(self, channel: Channel, _patience: float) -> None:
        while not isinstance(channel.receive()[0], End):
            pass
        self.followers.append(self._own.rank)

    def _join(self, rank: int, folder: Path | None) -> None:
        self._own.rank = rank
        try:
            with rendezvous_module.rendezvous(folder, patience=20) as coordinator:
                if coordinator is not None:
                    self.coordinators[rank] = sorted(coordinator._peers)
        except BaseException as error:
            self.errors.append(error)

    def join_all(self, holders: set[int]) -> None:
        """Have all ranks join, of which `holders` have the run folder."""
        threads = [
            threading.Thread(target=self._join, args=(rank, Path() if rank in holders else None))
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
def test_the_first_process_with_the_run_folder_coordinates(
    holders: set[int], host: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = Ranks(monkeypatch)
    ranks.join_all(holders)
    assert ranks.coordinators == {host: [1, 2]}  # it is worker 0
    assert sorted(ranks.followers) == [rank for rank in range(WORLD) if rank != host]


def test_the_endpoint_of_an_earlier_start_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks(monkeypatch)
    ranks.store.set("pbkd/listening", '{"address": "localhost", "port": 9}')
    ranks.join_all(set())
    assert ranks.coordinators == {0: [1, 2]}


def test_processes_that_do_not_connect_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks(monkeypatch)
    before = threading.enumerate()
    monkeypatch.setattr(rendezvous_module, "_TIMEOUT", 0.2)
    ranks._join(0, None)
    (error,) = ranks.errors
    assert isinstance(error, WorkerError)
    assert "2 of 3 processes did not connect" in str(error)
    for thread in threading.enumerate():
        if thread.name == "pbkd-accept" and thread not in before:
            thread.join(10)
            assert not thread.is_alive()
