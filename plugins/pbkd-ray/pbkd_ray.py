"""Workers on a Ray cluster: one actor per device; the machines need no shared folder."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from pbkd import execution, hookimpl
from pbkd.errors import ConfigError, PluginError, WorkerError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pbkd import Worker
    from pbkd.execution import WorkerRequest
    from pbkd.protocols import Launcher

PBKD_CONTRACT = 2

_PLACEMENT_TIMEOUT = 60.0  # seconds that the cluster has to reserve the workers' resources


class _Process(execution.WorkerProcess):
    """A worker process in the cluster, with a device of its own."""

    def address(self) -> str:
        """Return this machine's address in the cluster."""
        import ray

        return str(ray.util.get_node_ip_address())


@dataclass(frozen=True)
class _Actor:
    """How the host reaches a worker process: `handle` is Ray's, for an actor of `_Process`."""

    ray: Any
    handle: Any

    def ask(self, method: str, *arguments: object) -> Callable[[float], Any]:
        """Call a method; return the function that waits for what it returns."""
        reference = self._translate(getattr(self.handle, method).remote, *arguments)
        return lambda seconds: self._translate(self.ray.get, reference, timeout=seconds)

    def _translate(self, call: Callable[..., Any], *arguments: object, **options: object) -> Any:
        """Call a function of Ray; raise pbkd's error for that of Ray."""
        try:
            return call(*arguments, **options)
        except TimeoutError:
            raise
        except self.ray.exceptions.RayTaskError as error:
            raise WorkerError(f"a worker failed ({one_line(error.cause)}).") from error
        except self.ray.exceptions.RayError as error:
            raise execution.LostWorkerError(one_line(error)) from error

    def kill(self) -> None:
        """Have Ray start the actor anew; Ray returns before it has."""
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.handle, no_restart=False)


# By the id of this process's node, which differs between sessions: placement group and actors.
_groups: dict[str, tuple[Any, list[Any]]] = {}


@dataclass(frozen=True)
class RayLauncher:
    """Use the Ray cluster at `address`, or the local one, or start one on this machine.

    `workers=auto` takes every GPU of the cluster, or, without any, its CPUs in shares of `threads`.
    Independent jobs go to the first free worker; the job of a lost worker goes to another one.
    Workers of a relay are restarted together, at most `restarts` times, and a job may lose as many
    workers. A worker that does not answer for `patience` seconds is lost, and has as long to come
    back.
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
        return self._remote(ray, actors).measure(replace(request, threads=threads))

    def launch(
        self, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
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
        remote = self._remote(ray, actors[: len(workers)])
        try:
            execution.launch_remotely(work, folder, remote, self.restarts)
        except BaseException:  # Ctrl-C too
            _release_actors(ray)
            raise

    def _remote(self, ray: Any, actors: Sequence[Any]) -> execution.RemoteWorkers:
        return execution.RemoteWorkers([_Actor(ray, actor) for actor in actors], self.patience)


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
    actor = ray.remote(max_restarts=-1, num_cpus=cpus, num_gpus=gpus)(_Process)
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
