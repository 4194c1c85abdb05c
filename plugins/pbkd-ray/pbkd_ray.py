"""Workers on a Ray cluster: an actor for each device; no folder is needed in common."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pbkd import Job, Schedule, hookimpl
from pbkd.core.process import background_thread
from pbkd.errors import ConfigError, PluginError, WorkerError, one_line
from pbkd.execution.remote.folder_sync import marks, pack, unpack, written
from pbkd.execution.remote.probe import measured_link, stopwatch, worker_at
from pbkd.runs.assignment import read_assignment, write_assignment
from pbkd.runs.events import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from pbkd import RunConfig, Worker
    from pbkd.execution.remote.folder_sync import Parcel
    from pbkd.execution.remote.probe import Place
    from pbkd.protocols import Launcher

    Work = Callable[[Path, int], None]

PBKD_CONTRACT = 1

_ROOM = 60.0  # seconds that the cluster has to make room for the workers
_GRACE = 10.0  # seconds in which those that wait for a lost worker may fail by themselves


class _Actor:
    """A worker in the cluster, on a device of its own."""

    def load(self, config: RunConfig) -> None:
        """Load the teacher that is going to be timed."""
        self._timed = stopwatch(config)

    def place(self) -> Place:
        return self._timed()

    def echo(self, content: bytes) -> bytes:
        return content

    def address(self) -> tuple[str, int]:
        """Return where workers could meet on this one's machine."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return _ray().util.get_node_ip_address(), probe.getsockname()[1]

    def work(
        self, work: Work, rank: int, parcel: Parcel, environment: Mapping[str, str]
    ) -> Iterator[Parcel]:
        """Do a worker's part in a folder of its own; yield what it writes there."""
        os.environ.update(environment)
        failures: list[BaseException] = []
        with tempfile.TemporaryDirectory(prefix="pbkd-") as name:
            folder = Path(name)
            unpack(parcel, folder)
            before, done = marks(folder), threading.Event()

            def run(_stop: threading.Event) -> None:
                try:
                    work(folder, rank)
                except BaseException as error:
                    failures.append(error)
                finally:
                    done.set()

            with background_thread(run, "pbkd-work"):
                yield from written(folder, before, done)
        if failures:
            raise WorkerError(one_line(failures[0])) from failures[0]


@dataclass
class _ActorGroup:
    """The actors of a run, by rank, and the placement group that holds their resources."""

    group: Any
    actors: list[Any]


_groups: list[_ActorGroup] = []  # at most one: a process compresses one network at a time


@dataclass(frozen=True)
class RayLauncher:
    """Use the Ray cluster at `address`, or the one that runs here, or start one on this machine.

    `workers=auto` takes every GPU of the cluster, or, without any, its CPUs in shares of `threads`.
    Jobs that need nothing of each other go to whichever worker is free; one whose worker was lost
    goes to another. Workers of a relay are started again together, at most `restarts` times. A
    worker that was lost has `patience` seconds to come back.
    """

    name: ClassVar[str] = "ray"
    address: str | None = None
    restarts: int = 3
    patience: float = 60.0

    def workers(self, config: RunConfig) -> tuple[Worker, ...]:
        """Start an actor for each worker; return them with their measured speeds and links."""
        ray = _connected(self.address)
        _disband()
        count, threads, gpus = _sizes(ray.cluster_resources(), config)
        group = _gathered(ray, count, {"CPU": threads, **({"GPU": 1} if gpus else {})})
        config = replace(config, threads=threads)
        ray.get([actor.load.remote(config) for actor in group.actors])
        places = ray.get([actor.place.remote() for actor in group.actors])
        own = stopwatch(config)()
        links = [measured_link(partial(_echo, actor)) for actor in group.actors]
        return tuple(
            worker_at(rank, place, own, link)
            for rank, (place, link) in enumerate(zip(places, links, strict=True))
        )

    def launch(self, work: Work, folder: Path, workers: Sequence[Worker]) -> None:
        """Have the work done; raises `WorkerError` where it fails, or too few workers are left."""
        ray = _connected(self.address)
        if not _groups or len(_groups[-1].actors) < len(workers):
            _disband()
            _gathered(ray, len(workers), {"CPU": max(worker.threads for worker in workers)})
        attempt = _Attempt(ray, work, folder, _groups[-1].actors, self.patience)
        if _independent(folder, len(workers)):
            _in_turn(attempt, workers)
        else:
            _together(attempt, len(workers), self.restarts)


@dataclass
class _Attempt:
    """One launch: what is to be done, where, and by whom."""

    ray: Any
    work: Work
    folder: Path
    actors: list[Any]
    patience: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def threads(self, count: int) -> Iterator[ThreadPoolExecutor]:
        """Give a thread for each worker; an error, or Ctrl-C, ends what their actors do."""
        with ThreadPoolExecutor(count) as pool:
            try:
                yield pool
            except BaseException:
                self.over.set()
                _disband()
                raise

    def carry_out(self, rank: int, parcel: Parcel, environment: Mapping[str, str]) -> None:
        """Have one actor do its part, putting what it writes into the run's folder."""
        written = self.actors[rank].work.options(num_returns="streaming")
        try:
            for part in written.remote(self.work, rank, parcel, environment):
                found = self.ray.get(part)
                with self.lock:
                    unpack(found, self.folder)
        except self.ray.exceptions.RayTaskError as error:
            raise WorkerError(f"worker {rank} failed ({one_line(error.cause)}).") from error

    def is_back(self, rank: int) -> bool:
        """Wait for an actor that was lost to be started again, on another machine if need be."""
        end = time.monotonic() + self.patience
        while (left := end - time.monotonic()) > 0 and not self.over.is_set():
            try:
                self.ray.get(self.actors[rank].echo.remote(b""), timeout=left)
            except self.ray.exceptions.RayError:
                time.sleep(0.5)  # it is not yet known where it will be
            else:
                return True
        return False


def _in_turn(attempt: _Attempt, workers: Sequence[Worker]) -> None:
    """Do jobs that need nothing of each other: each worker its own, then whichever is left."""
    schedule = read_assignment(attempt.folder).schedule
    own = [deque(jobs) for jobs in schedule.assigned]
    shared = deque(schedule.shared)

    def serve(rank: int) -> None:
        while job := _next_job(own[rank], shared, attempt.lock):
            try:
                attempt.carry_out(rank, _job_parcel(attempt.folder, rank, job), {})
            except attempt.ray.exceptions.RayError as error:
                with attempt.lock:
                    shared.extend([job, *own[rank]])
                    own[rank].clear()
                _tell(attempt.folder, rank, error)
                if not attempt.is_back(rank):
                    return

    with attempt.threads(len(workers)) as pool:
        for served in [pool.submit(serve, worker.rank) for worker in workers]:
            served.result()
    if shared:
        left = ", ".join(name for job in shared for name in job.blocks)
        raise WorkerError(f"too few workers of the Ray cluster are left to train {left}.")


def _next_job(own: deque[Job], shared: deque[Job], lock: threading.Lock) -> Job | None:
    with lock:
        if own:
            return own.popleft()
        return shared.popleft() if shared else None


def _job_parcel(folder: Path, rank: int, job: Job) -> Parcel:
    """Return the run's folder with an assignment in which this worker has this one job."""
    assignment = read_assignment(folder)
    ranks = range(len(assignment.workers))
    assigned = tuple((job,) if other == rank else () for other in ranks)
    with tempfile.TemporaryDirectory(prefix="pbkd-") as name:
        write_assignment(Path(name), replace(assignment, schedule=Schedule(assigned)))
        return {**pack(folder), **pack(Path(name))}


def _together(attempt: _Attempt, count: int, restarts: int) -> None:
    """Do what workers do together; when one is lost, start all again from their checkpoints."""
    ranks = range(count)
    for turn in range(restarts + 1):
        host, port = attempt.ray.get(attempt.actors[0].address.remote())
        parcel = pack(attempt.folder)
        environment = {"WORLD_SIZE": str(count), "MASTER_ADDR": host, "MASTER_PORT": str(port)}
        with attempt.threads(count) as pool:
            parts = [
                pool.submit(attempt.carry_out, r, parcel, {**environment, "RANK": str(r)})
                for r in ranks
            ]
            lost = _first_loss(attempt, parts)
        if lost is None:
            return
        rank, error = lost
        if turn == restarts or not all(map(attempt.is_back, ranks)):
            raise WorkerError(
                f"worker {rank} of the Ray cluster was lost ({one_line(error)}), and the cluster"
                " has no room for another."
            ) from error
        _tell(attempt.folder, rank, error)


def _first_loss(attempt: _Attempt, parts: Sequence[Future[None]]) -> tuple[int, Exception] | None:
    """Wait for all; return who was lost first, with the error, or None where all is done.

    Once one has failed, those that wait for it are stopped. Raises the `WorkerError` of work that
    failed by itself.
    """
    wait(parts, return_when=FIRST_EXCEPTION)
    if any(part.done() and part.exception() for part in parts):
        wait(parts, timeout=_GRACE)  # who was lost is often told after those that missed it
        failed = {rank: part.exception() for rank, part in enumerate(parts) if part.done()}
        for actor in attempt.actors:
            with suppress(attempt.ray.exceptions.RayError):
                attempt.ray.kill(actor, no_restart=False)
        errors = {rank: error for rank, error in failed.items() if isinstance(error, Exception)}
        losses = {
            rank: error
            for rank, error in errors.items()
            if isinstance(error, attempt.ray.exceptions.RayError)
        }
        if not losses:
            raise next(iter(errors.values()))
        return next(iter(losses.items()))
    return None


def _independent(folder: Path, count: int) -> bool:
    """Whether the jobs of this phase need nothing of each other."""
    if count < 2 or not (folder / "assignment.json").exists():
        return False
    return read_assignment(folder).schedule.feed == "recompute"


def _sizes(resources: Mapping[str, float], config: RunConfig) -> tuple[int, int, bool]:
    """Return how many workers there are to be, the CPUs of each, and whether each has a GPU."""
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    use_gpus = gpus > 0 and config.device != "cpu"
    count = config.workers
    if not isinstance(count, int):
        count = gpus if use_gpus else max(1, cpus // (config.threads or 1))
    return count, config.threads or max(1, cpus // count), use_gpus


def _gathered(ray: Any, count: int, resources: dict[str, int]) -> _ActorGroup:
    """Start an actor for each worker, over the cluster; raises `WorkerError` without room."""
    bundles = [dict(resources) for _ in range(count)]
    group = ray.util.placement_group(bundles, strategy="SPREAD")
    if not group.wait(timeout_seconds=_ROOM):
        ray.util.remove_placement_group(group)
        there = {name: ray.cluster_resources().get(name, 0) for name in resources}
        raise WorkerError(
            f"the Ray cluster has no room for {count} workers with {resources} each (it has"
            f" {there} in all, each machine in whole shares): ask for fewer workers or threads."
        )
    placed = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
    actor = ray.remote(max_restarts=-1)(_Actor)
    options = {"num_cpus": resources["CPU"], "num_gpus": resources.get("GPU", 0)}
    actors = [
        actor.options(**options, scheduling_strategy=placed(group, index)).remote()
        for index in range(count)
    ]
    _groups.append(_ActorGroup(group, actors))
    return _groups[-1]


def _echo(actor: Any, content: bytes) -> bytes:
    returned: bytes = _ray().get(actor.echo.remote(content))
    return returned


def _disband() -> None:
    """Give the resources of an earlier group back."""
    while _groups:
        group = _groups.pop()
        with suppress(_ray().exceptions.RayError):
            for actor in group.actors:
                _ray().kill(actor)
            _ray().util.remove_placement_group(group.group)


def _connected(address: str | None) -> Any:
    """Return Ray, connected to its cluster."""
    ray = _ray()
    if not ray.is_initialized():
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (OSError, ValueError, ray.exceptions.RayError) as error:
            raise ConfigError(
                f"the Ray cluster at '{address}' cannot be reached ({one_line(error)}): leave"
                " launcher.address out to use the one that runs here, or to start one."
            ) from error
    return ray


def _knock(address: str | None) -> None:
    """Raise `OSError` where nobody answers at `address`, for which Ray would wait minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _ray() -> Any:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise PluginError(
            f"the launcher 'ray' needs Ray ({one_line(error)}): pip install 'pbkd[ray]'."
        ) from error
    return ray


def _tell(folder: Path, rank: int, error: BaseException) -> None:
    reason = f"worker {rank} was lost: {one_line(error)}"
    record(folder, "launcher", "restart", reason=reason)


@hookimpl
def register_launchers() -> list[type[Launcher]]:
    """Hand over the launcher `ray`."""
    return [RayLauncher]
