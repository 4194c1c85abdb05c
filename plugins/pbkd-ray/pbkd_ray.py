"""Workers on a Ray cluster: one actor per device; the machines need no shared folder."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from pbkd import execution, hookimpl
from pbkd.errors import ConfigError, PluginError, WorkerError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from pbkd import Worker
    from pbkd.execution import FolderDelta, JobPool, WorkerProbe, WorkerRequest
    from pbkd.protocols import Launcher

    Work = Callable[[Path, int], None]

PBKD_CONTRACT = 2

_PLACEMENT_TIMEOUT = 60.0  # seconds that the cluster has to reserve the workers' resources
_GRACE = 10.0  # seconds in which workers that wait for a lost one may fail by themselves


class _Actor:
    """A worker process in the cluster, with a device of its own."""

    def load(self, request: WorkerRequest) -> None:
        self._probe = execution.prepare_probe(request)

    def probe(self) -> WorkerProbe:
        return self._probe()

    def echo(self, content: bytes) -> bytes:
        return content

    def free_address(self) -> tuple[str, int]:
        """Return this machine's address and a free port on it."""
        import ray

        address = ray.util.get_node_ip_address()
        with socket.create_server((address, 0)) as server:
            return address, server.getsockname()[1]

    def work(
        self, work: Work, rank: int, contents: FolderDelta, environment: Mapping[str, str]
    ) -> Iterator[FolderDelta]:
        os.environ.update(environment)
        yield from execution.stream_work(work, rank, contents)


# By the id of this process's node, which differs between sessions: placement group and actors.
_groups: dict[str, tuple[Any, list[Any]]] = {}


@dataclass(frozen=True)
class RayLauncher:
    """Use the Ray cluster at `address`, or the local one, or start one on this machine.

    `workers=auto` takes every GPU of the cluster, or, without any, its CPUs in shares of `threads`.
    Independent jobs go to the first free worker; the job of a lost worker goes to another one.
    Workers of a relay are restarted together, at most `restarts` times. A lost worker has
    `patience` seconds to come back.
    """

    name: ClassVar[str] = "ray"
    address: str | None = None
    restarts: int = 3
    patience: float = 60.0

    def workers(self, request: WorkerRequest) -> tuple[Worker, ...]:
        """Start one actor per worker; describe the workers with measured speeds and links.

        Raises:
            ConfigError: The cluster cannot be reached.
            WorkerError: The cluster has no room for the workers.
        """
        ray = _connect(self.address)
        _release_actors(ray)
        resources = ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        count, threads, use_gpus = execution.divide_resources(request, cpus, gpus)
        actors = _start_actors(ray, count, {"CPU": threads, **({"GPU": 1} if use_gpus else {})})
        request = replace(request, threads=threads)
        ray.get([actor.load.remote(request) for actor in actors])
        probes = ray.get([actor.probe.remote() for actor in actors])
        reference = execution.prepare_probe(request)()

        def link(actor: Any) -> tuple[float, float]:
            return execution.measure_link(lambda content: ray.get(actor.echo.remote(content)))

        return tuple(
            execution.worker_from_probe(rank, probe, reference, link(actor))
            for rank, (probe, actor) in enumerate(zip(probes, actors, strict=True))
        )

    def launch(self, work: Work, folder: Path, workers: Sequence[Worker]) -> None:
        """Have the actors do all workers' parts; write their results into the run folder.

        Raises:
            WorkerError: A worker fails, or too few workers are left.
        """
        ray = _connect(self.address)
        _, actors = _groups.get(ray.get_runtime_context().get_node_id(), (None, []))
        if len(actors) < len(workers):
            _release_actors(ray)
            threads = max(worker.threads for worker in workers)
            actors = _start_actors(ray, len(workers), {"CPU": threads})
        launch = _Launch(ray=ray, work=work, folder=folder, actors=actors, patience=self.patience)
        jobs = execution.independent_jobs(folder) if len(workers) > 1 else None
        if jobs is not None:
            _run_jobs(launch, jobs, workers)
        else:
            _run_together(launch, len(workers), self.restarts)


@dataclass(kw_only=True)
class _Launch:
    """One launch of work on the actors."""

    ray: Any
    work: Work
    folder: Path
    actors: list[Any]
    patience: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def thread_pool(self, count: int) -> Iterator[ThreadPoolExecutor]:
        """Open a pool with one thread per worker; an error, or Ctrl-C, kills the actors."""
        with ThreadPoolExecutor(count) as pool:
            try:
                yield pool
            except BaseException:
                self.stopped.set()
                _release_actors(self.ray)
                raise

    def run_worker(self, rank: int, contents: FolderDelta, environment: Mapping[str, str]) -> None:
        """Run one worker on its actor; write its own files into the run folder."""
        allowed = execution.writable_files(contents, rank)
        remote_work = self.actors[rank].work.options(num_returns="streaming")
        try:
            for reference in remote_work.remote(self.work, rank, contents, environment):
                delta = self.ray.get(reference)
                with self.lock:
                    execution.apply_delta(delta, self.folder, allowed)
        except self.ray.exceptions.RayTaskError as error:
            raise WorkerError(f"worker {rank} failed ({one_line(error.cause)}).") from error

    def wait_for_restart(self, rank: int) -> bool:
        """Wait until Ray has restarted a lost actor, possibly on another machine."""
        end = time.monotonic() + self.patience
        while (left := end - time.monotonic()) > 0 and not self.stopped.is_set():
            try:
                self.ray.get(self.actors[rank].echo.remote(b""), timeout=left)
                return True
            except self.ray.exceptions.RayError:
                time.sleep(0.5)  # Ray has not placed it yet
        return False


def _run_jobs(launch: _Launch, jobs: JobPool, workers: Sequence[Worker]) -> None:
    """Run independent jobs one at a time; a lost worker's jobs go to the others."""

    def serve(rank: int) -> None:
        while job := jobs.take(rank):
            try:
                launch.run_worker(rank, execution.pack_job(launch.folder, rank, job), {})
            except launch.ray.exceptions.RayError as error:
                jobs.release_jobs_of(rank, job)
                execution.record_restart(
                    launch.folder, f"worker {rank} was lost: {one_line(error)}"
                )
                if not launch.wait_for_restart(rank):
                    return

    with launch.thread_pool(len(workers)) as pool:
        list(pool.map(serve, [worker.rank for worker in workers]))
    if left := ", ".join(jobs.blocks_left):
        raise WorkerError(f"too few workers of the Ray cluster are left to train {left}.")


def _run_together(launch: _Launch, count: int, restarts: int) -> None:
    """Run workers that need each other; if one is lost, restart all from their checkpoints."""
    ranks = range(count)
    for attempt in range(restarts + 1):
        host, port = launch.ray.get(launch.actors[0].free_address.remote())
        contents = execution.pack_folder(launch.folder)
        environment = {"WORLD_SIZE": str(count), "MASTER_ADDR": host, "MASTER_PORT": str(port)}
        with launch.thread_pool(count) as pool:
            results = [
                pool.submit(launch.run_worker, r, contents, {**environment, "RANK": str(r)})
                for r in ranks
            ]
            loss = _first_loss(launch, results)
        if loss is None:
            return
        rank, error = loss
        if attempt == restarts or not all(map(launch.wait_for_restart, ranks)):
            raise WorkerError(
                f"worker {rank} of the Ray cluster was lost ({one_line(error)}), and the cluster"
                " has no room for another."
            ) from error
        execution.record_restart(launch.folder, f"worker {rank} was lost: {one_line(error)}")


def _first_loss(launch: _Launch, results: Sequence[Future[None]]) -> tuple[int, Exception] | None:
    """Wait for all workers; return rank and error of the first one lost, or None.

    After an error all actors are restarted. An error of the work itself is raised.
    """
    wait(results, return_when=FIRST_EXCEPTION)
    if not any(result.done() and result.exception() for result in results):
        return None
    wait(results, timeout=_GRACE)  # Ray often reports a loss after the workers that noticed it
    errors = {rank: result.exception() for rank, result in enumerate(results) if result.done()}
    for actor in launch.actors:
        with suppress(launch.ray.exceptions.RayError):
            launch.ray.kill(actor, no_restart=False)
    failures = [(rank, error) for rank, error in errors.items() if isinstance(error, Exception)]
    losses = [item for item in failures if isinstance(item[1], launch.ray.exceptions.RayError)]
    if not losses:
        raise failures[0][1]
    return losses[0]


def _start_actors(ray: Any, count: int, resources: dict[str, int]) -> list[Any]:
    """Start one actor per worker, spread over the cluster.

    Their handles are weak: every session of Ray numbers its actors alike, so that a counted handle
    of an earlier session, once collected, would end an actor of this one. The actors end with their
    placement group, which ends with this process.
    """
    placement = ray.util.placement_group([dict(resources) for _ in range(count)], strategy="SPREAD")
    if not placement.wait(timeout_seconds=_PLACEMENT_TIMEOUT):
        ray.util.remove_placement_group(placement)
        total = {name: ray.cluster_resources().get(name, 0) for name in resources}
        raise WorkerError(
            f"the Ray cluster has no room for {count} workers with {resources} each (it has {total}"
            " in total, and a worker cannot span machines): ask for fewer workers or threads."
        )
    scheduling = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
    cpus, gpus = resources["CPU"], resources.get("GPU", 0)
    actor = ray.remote(max_restarts=-1, num_cpus=cpus, num_gpus=gpus)(_Actor)
    places = [{"name": str(uuid4()), "namespace": "pbkd"} for _ in range(count)]
    for index, place in enumerate(places):
        strategy = scheduling(placement, index)
        actor.options(**place, lifetime="detached", scheduling_strategy=strategy).remote()
    actors = [ray.get_actor(**place) for place in places]
    _groups[ray.get_runtime_context().get_node_id()] = placement, actors
    return actors


def _release_actors(ray: Any) -> None:
    """Kill the actors of an earlier run and free their resources."""
    placement, actors = _groups.pop(ray.get_runtime_context().get_node_id(), (None, []))
    with suppress(ray.exceptions.RayError):
        for actor in actors:
            ray.kill(actor)
        if placement is not None:
            ray.util.remove_placement_group(placement)


def _connect(address: str | None) -> Any:
    """Return the module `ray`, connected to its cluster."""
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise PluginError(
            f"the launcher 'ray' needs Ray ({one_line(error)}): pip install 'pbkd[ray]'."
        ) from error
    if not ray.is_initialized():
        try:
            execution.check_reachable(address)
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (OSError, ValueError, ray.exceptions.RayError) as error:
            raise ConfigError(
                f"the Ray cluster at '{address}' cannot be reached ({one_line(error)}): leave"
                " launcher.address out to use the one that runs here, or to start one."
            ) from error
    return ray


@hookimpl
def register_launchers() -> list[type[Launcher]]:
    """Register the launcher `ray`."""
    return [RayLauncher]
