"""Workers elsewhere, as the host sees them: asked for answers, and lost when there are none."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import uuid4

from pbkd.errors import WorkerError
from pbkd.execution.remote.probe import measure_link, prepare_probe, worker_from_probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from pbkd.core.schedule import Worker
    from pbkd.execution.worker_request import WorkerRequest


__all__ = ["LostWorkerError", "RemoteWorkers", "WorkerHandle"]

_SILENCE = 5.0  # seconds after which a worker counts as lost when another one has failed
T = TypeVar("T")


class LostWorkerError(Exception):
    """A worker died, or nobody knows what became of it."""


class WorkerHandle(Protocol):
    """A launcher's means to reach one worker, a `WorkerProcess` elsewhere."""

    def ask(self, method: str, *arguments: object) -> Callable[[float], Any]:
        """Call a method of the process.

        Args:
            method: Name of a method of `WorkerProcess`.
            arguments: Its arguments.

        Returns:
            A function that waits a number of seconds for what the method returns. It raises
            `TimeoutError` if there is nothing by then, and may be called again.

        Raises:
            LostWorkerError: The process is gone, as far as the launcher knows.
            WorkerError: The process cannot run pbkd.
        """

    def kill(self) -> None:
        """Have another process take this one's place, sooner or later; the launcher waits not."""


class RemoteWorkers:
    """The workers of a run. None is waited for longer than `patience` seconds without an answer.

    No engine's word is needed for that: of some losses an engine never tells, and its answers may
    come from a process that is about to be killed.
    """

    def __init__(self, handles: Sequence[WorkerHandle], patience: float) -> None:
        """Take the handles of new workers, by rank."""
        self._handles = handles
        self._patience = patience
        self._stopped = threading.Event()
        self._last_answers: dict[int, float] = {}

    def __len__(self) -> int:
        """Return the number of workers."""
        return len(self._handles)

    def at_once(self, call: Callable[[int], T], ranks: Sequence[int], grace: float = 0) -> list[T]:
        """Call a function with each rank, in threads that wait for the workers.

        After an error the other threads stop to wait.

        Args:
            call: The function.
            ranks: The ranks.
            grace: Seconds in which the loss of a worker may show after other errors, which it
                may have caused.

        Returns:
            What the function returned for each rank.

        Raises:
            LostWorkerError: A worker was lost.
            WorkerError: A worker failed, and none was lost.
        """
        with ThreadPoolExecutor(len(ranks)) as pool:
            try:
                parts = {rank: pool.submit(call, rank) for rank in ranks}
                wait(parts.values(), return_when=FIRST_EXCEPTION)
                if error := self._first_error(parts, grace):
                    raise error
                return [part.result() for part in parts.values()]
            finally:
                self._stopped.set()
                pool.shutdown()
                self._stopped.clear()

    def _first_error(self, parts: Mapping[int, Future[T]], grace: float) -> BaseException | None:
        """Return the error of one part, preferably the loss of a worker."""
        end = time.monotonic() + grace
        while True:
            left = [part for part in parts.values() if not part.done()]
            found = [e for part in parts.values() if part.done() and (e := part.exception())]
            lost = [error for error in found if isinstance(error, LostWorkerError)]
            seconds = end - time.monotonic()
            if lost or not found or not left or seconds <= 0:
                break
            wait(left, seconds, return_when=FIRST_COMPLETED)
        for rank, part in parts.items():
            silent = time.monotonic() - self._last_answers.get(rank, 0)
            if found and not lost and not part.done() and grace and silent > _SILENCE:
                return LostWorkerError(f"worker {rank} was lost (no answer after others failed)")
        return next(iter([*lost, *found]), None)

    def measure(self, request: WorkerRequest) -> tuple[Worker, ...]:
        """Have all workers load the teacher; measure their speeds and the links to them.

        Raises:
            WorkerError: A worker is lost or cannot load the teacher.
        """
        ranks = range(len(self))
        try:
            self.at_once(lambda rank: list(self.results(rank, "load", request)), ranks)
            probes = self.at_once(lambda rank: next(self.results(rank, "probe")), ranks)
            links = [measure_link(partial(self.ask, rank, "echo")) for rank in ranks]
        except LostWorkerError as error:
            raise WorkerError(
                f"{error} before it began: look whether its machine still runs, and start again."
            ) from error
        reference = prepare_probe(request)()
        return tuple(
            worker_from_probe(rank, probe, reference, link)
            for rank, (probe, link) in enumerate(zip(probes, links, strict=True))
        )

    def ask(self, rank: int, method: str, *arguments: object, patience: float | None = None) -> Any:
        """Return what a method of a worker's process returns.

        Raises:
            LostWorkerError: There is no answer in `patience` seconds.
            WorkerError: The process cannot run pbkd, or another thread of `at_once` failed.
        """
        end = time.monotonic() + (self._patience if patience is None else patience)
        try:
            answer = self._handles[rank].ask(method, *arguments)
            while not self._stopped.is_set():
                left = end - time.monotonic()
                with suppress(TimeoutError):
                    value = answer(max(0, min(1, left)))
                    self._last_answers[rank] = time.monotonic()
                    return value
                if left < 0:
                    raise LostWorkerError(f"no answer in {self._patience:g} s")
        except LostWorkerError as error:
            raise LostWorkerError(f"worker {rank} was lost ({error})") from error
        raise WorkerError(f"worker {rank} was stopped with the others.")

    def results(self, rank: int, name: str, *arguments: object) -> Iterator[Any]:
        """Have a worker do a task of `WorkerProcess.begin`; yield the task's results.

        Raises:
            LostWorkerError: The worker does not answer, or another process is in its place.
            WorkerError: The task raised an error.
        """
        task = str(uuid4())
        self.ask(rank, "begin", task, name, *arguments)
        while (answer := self.ask(rank, "next_answer", task)).kind != "done":
            if answer.kind == "unknown":
                raise LostWorkerError(f"worker {rank} was lost (it was started anew)")
            if answer.kind == "failed":
                raise WorkerError(f"worker {rank} failed ({answer.value}).")
            if answer.kind == "result":
                yield answer.value

    def restart(self, rank: int) -> bool:
        """Kill a worker; return whether a new one takes its place within `patience` seconds."""
        end = time.monotonic() + self._patience
        self._handles[rank].kill()
        while (left := end - time.monotonic()) > 0 and not self._stopped.is_set():
            with suppress(LostWorkerError):  # it has no place yet
                if self.ask(rank, "is_new", patience=min(5, left)):
                    return True
                self._handles[rank].kill()  # the old one is still there
            self._stopped.wait(min(0.5, left))
        return False
