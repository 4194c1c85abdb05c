"""Workers: processes, machines, jobs. These names are the interface for launcher plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.execution.heartbeat import emit_heartbeats, watch_heartbeats
    from pbkd.execution.launcher_events import record_lost_process, record_restart
    from pbkd.execution.preload import modules_to_preload
    from pbkd.execution.remote.coordinator import Coordinator
    from pbkd.execution.remote.current import current_coordinator
    from pbkd.execution.remote.reachability import check_reachable
    from pbkd.execution.remote.remote_launch import launch_remotely
    from pbkd.execution.remote.remote_workers import LostWorkerError, RemoteWorkers, WorkerHandle
    from pbkd.execution.remote.worker_process import WorkerProcess
    from pbkd.execution.store import private_store
    from pbkd.execution.worker_request import WorkerRequest
    from pbkd.execution.workers import divide_resources

__all__ = [
    "Coordinator",
    "LostWorkerError",
    "RemoteWorkers",
    "WorkerHandle",
    "WorkerProcess",
    "WorkerRequest",
    "check_reachable",
    "current_coordinator",
    "divide_resources",
    "emit_heartbeats",
    "launch_remotely",
    "modules_to_preload",
    "private_store",
    "record_lost_process",
    "record_restart",
    "watch_heartbeats",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "Coordinator": "pbkd.execution.remote.coordinator",
        "LostWorkerError": "pbkd.execution.remote.remote_workers",
        "RemoteWorkers": "pbkd.execution.remote.remote_workers",
        "WorkerHandle": "pbkd.execution.remote.remote_workers",
        "WorkerProcess": "pbkd.execution.remote.worker_process",
        "WorkerRequest": "pbkd.execution.worker_request",
        "check_reachable": "pbkd.execution.remote.reachability",
        "current_coordinator": "pbkd.execution.remote.current",
        "divide_resources": "pbkd.execution.workers",
        "emit_heartbeats": "pbkd.execution.heartbeat",
        "launch_remotely": "pbkd.execution.remote.remote_launch",
        "modules_to_preload": "pbkd.execution.preload",
        "private_store": "pbkd.execution.store",
        "record_lost_process": "pbkd.execution.launcher_events",
        "record_restart": "pbkd.execution.launcher_events",
        "watch_heartbeats": "pbkd.execution.heartbeat",
    },
)
