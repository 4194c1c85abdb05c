"""A stranger on this machine attacks runs with two workers: their ports, sockets and files."""

from __future__ import annotations

import os
import pickle
import socket
import stat
import struct
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pbkd.core.process import background_thread
from pbkd.execution.store import private_store
from pbkd.runs.folder import newest_run
from tests.soak.attempt import wait_until
from tests.soak.processes import processes_of_session
from tests.soak.short_run import digests, tiny_settings

if TYPE_CHECKING:
    import threading

    from tests.soak.attempt import Undisturbed
    from tests.soak.preloaded import Command, Preloaded

# Beside the feed of the scheduler, each run has the relay of its student-fed phase.
FEEDS = {"recompute": ["lpt-scheduler"], "cache": ["cached", "cache_gigabytes=1"]}


class Mark:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def messages(mark: Path) -> list[bytes]:
    """Return what the stranger sends: for torch's TCPStore, for gloo, and for nobody."""
    key, value = b"/default_pg/0//cpu//0", pickle.dumps(Mark(mark))
    validate = b"\0" + struct.pack("<I", 0x3C85F7CE)
    store = validate + b"\1" + b"".join(struct.pack("<Q", len(x)) + x for x in (key, value))
    # gloo takes the first connection with the number of a pair of workers for the other worker.
    pairs = [struct.pack("<q", number) for number in range(4)]
    return [store, *pairs, *(pair + value for pair in pairs), os.urandom(200), b""]


@dataclass
class Stranger:
    """Connects to all ports of a command's processes, and notes what it sees."""

    command: Command
    messages: list[bytes]
    tmp: Path
    addresses: set[str] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)
    readable: set[str] = field(default_factory=set)
    _connections: list[socket.socket] = field(default_factory=list)

    def attack(self, stop: threading.Event) -> None:
        while not stop.wait(0.01):
            for process in processes_of_session(self.command.pid):
                with suppress(psutil.Error, OSError):
                    self._look(psutil.Process(process.pid))
            self.readable |= {
                path.name for path in self.tmp.iterdir() if path.stat().st_mode & 0o77
            }
        for connection in self._connections:
            connection.close()

    def _look(self, process: psutil.Process) -> None:
        for found in process.net_connections("inet"):
            self.addresses.add(found.laddr.ip)
            if found.status == psutil.CONN_LISTEN and found.laddr.port not in self.ports:
                self.ports.add(found.laddr.port)
                for message in self.messages:
                    connection = socket.create_connection(found.laddr, timeout=1)
                    self._connections.append(connection)
                    connection.sendall(message)
        for found in process.net_connections("unix"):
            if found.laddr and Path(found.laddr).parent.stat().st_mode & 0o77:
                self.readable.add(found.laddr)


@pytest.mark.parametrize(
    "feed", [pytest.param(f, marks=[pytest.mark.slow] if f == "cache" else []) for f in FEEDS]
)
def test_a_stranger_on_loopback_gets_nothing(
    feed: str, preloaded: Preloaded, tiny: Undisturbed
) -> None:
    with tempfile.TemporaryDirectory() as name:  # a short path, as sockets need it
        place, mark, tmp = Path(name), Path(name) / "mark", Path(name) / "tmp"
        tmp.mkdir()
        scheduler, *options = FEEDS[feed]
        changes = ["workers=2", f"scheduler={scheduler}", *options]
        arguments = ["run", *tiny_settings(place), *changes]
        command = preloaded.start(place / "1", arguments, {"TMPDIR": str(tmp)})
        stranger = Stranger(command, messages(mark), tmp)
        with background_thread(stranger.attack, "stranger"):
            wait_until(lambda: preloaded.poll(command) is not None, "the run ends")
        assert preloaded.poll(command) == 0, command.err
        assert command.err == ""
        assert stranger.ports
        assert stranger.addresses == {"127.0.0.1"}
        assert stranger.readable == set()
        assert not mark.exists()
        assert digests(newest_run(place)) == tiny.weights
        assert list(tmp.iterdir()) == []


def test_no_other_user_can_open_the_store() -> None:
    before = os.umask(0)
    try:
        with private_store() as environment:
            path = Path(environment["PBKD_STORE"])
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert not path.parent.exists()
