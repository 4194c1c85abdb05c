"""A worker that cannot see the run folder: it does what the coordinator asks, in a copy."""

from __future__ import annotations

import os
import signal
import sys
from queue import Queue
from typing import TYPE_CHECKING

from pbkd.errors import one_line
from pbkd.execution import worker
from pbkd.execution.remote.connection import PeerConnection
from pbkd.execution.remote.messages import (
    Done,
    Echo,
    End,
    Failed,
    File,
    Load,
    Loaded,
    ProtocolError,
    Start,
    Timed,
    Work,
)
from pbkd.execution.remote.probe import prepare_probe
from pbkd.execution.remote.working_copy import work_in_copy
from pbkd.execution.torchrun import LAUNCH_ID
from pbkd.execution.worker_request import WorkerRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.execution.remote.channel import Channel
    from pbkd.execution.remote.folder_sync import FolderDelta
    from pbkd.execution.remote.messages import Message
    from pbkd.execution.remote.probe import WorkerProbe


__all__ = ["follow"]

_REQUESTS = (Load, Start, Echo, File, Work, End)


def follow(channel: Channel, patience: float) -> None:
    """Serve the coordinator's requests until it sends `End`.

    This process exits if the coordinator is silent for too long.

    Args:
        channel: The connection to the coordinator.
        patience: Maximum silence, in seconds; a request `Load` may change it.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # removes the temporary folders
    requests: Queue[tuple[Message, bytes]] = Queue()

    def receive(message: Message, body: bytes) -> None:
        if not isinstance(message, _REQUESTS):
            raise ProtocolError("it sent a message that no coordinator sends")
        requests.put((message, body))

    follower = _Follower(PeerConnection(channel, patience, receive, _exit))
    while not isinstance((request := requests.get())[0], End):
        follower.serve(*request)
    follower.peer.close()


class _Follower:
    """What this process has received, for the requests that are going to need it."""

    def __init__(self, peer: PeerConnection) -> None:
        self.peer = peer
        self._contents: FolderDelta = {}
        self._probe: Callable[[], WorkerProbe] | None = None

    def serve(self, message: Message, body: bytes) -> None:
        """Do what a request asks; report an error before raising it."""
        if isinstance(message, File):
            self._contents[message.name] = body
            return
        try:
            answer = self._answer(message, body)
        except Exception as error:
            self.peer.send(Failed.because(one_line(error)))
            raise
        self.peer.send(answer)

    def _answer(self, message: Message, body: bytes) -> Message:
        if isinstance(message, Load):
            return self._load(message, body)
        if isinstance(message, Start) and self._probe:
            probe, self._probe = self._probe, None  # it holds the teacher
            return Timed(**vars(probe()))
        if isinstance(message, Work):
            contents, self._contents = self._contents, {}
            work_in_copy(worker.work, message.rank, contents, self._send_files)
            return Done()
        if isinstance(message, Echo):
            return message
        raise ProtocolError("the coordinator had something timed that it had not sent.")

    def _load(self, load: Load, configuration: bytes) -> Loaded:
        """Load the teacher that the coordinator is going to have timed."""
        self.peer.patience = load.patience
        os.environ[LAUNCH_ID] = load.launch
        self._probe = prepare_probe(
            WorkerRequest(
                configuration=configuration.decode(), threads=load.threads, device=load.device
            )
        )
        return Loaded()

    def _send_files(self, delta: FolderDelta) -> None:
        """Send back what the work writes."""
        for name, content in delta.items():
            self.peer.send(File(name, delete=content is None), content or b"")


def _exit(reason: str) -> None:
    sys.stderr.write(f"pbkd: the run's coordinator was lost: {reason}.\n")
    sys.stderr.flush()
    os._exit(1)  # the main thread may be blocked in torch, waiting for another worker
