"""Workers: processes, machines, jobs. These names are the interface for launcher plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.execution.heartbeat import emit_heartbeats, watch_heartbeats
    from pbkd.execution.job_pool import JobPool, independent_jobs, pack_job
    from pbkd.execution.launcher_events import record_lost_process, record_restart
    from pbkd.execution.preload import modules_to_preload
    from pbkd.execution.remote.coordinator import Coordinator
    from pbkd.execution.remote.current import current_coordinator
    from pbkd.execution.remote.folder_sync import FolderDelta, apply_delta, pack_folder
    from pbkd.execution.remote.probe import (
        WorkerProbe,
        measure_link,
        prepare_probe,
        worker_from_probe,
    )
    from pbkd.execution.remote.reachability import check_reachable
    from pbkd.execution.remote.worker_files import writable_files
    from pbkd.execution.remote.working_copy import stream_work
    from pbkd.execution.store import private_store
    from pbkd.execution.worker_request import WorkerRequest
    from pbkd.execution.workers import divide_resources

__all__ = [
    "Coordinator",
    "FolderDelta",
    "JobPool",
    "WorkerProbe",
    "WorkerRequest",
    "apply_delta",
    "check_reachable",
    "current_coordinator",
    "divide_resources",
    "emit_heartbeats",
    "independent_jobs",
    "measure_link",
    "modules_to_preload",
    "pack_folder",
    "pack_job",
    "prepare_probe",
    "private_store",
    "record_lost_process",
    "record_restart",
    "stream_work",
    "watch_heartbeats",
    "worker_from_probe",
    "writable_files",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "Coordinator": "pbkd.execution.remote.coordinator",
        "FolderDelta": "pbkd.execution.remote.folder_sync",
        "JobPool": "pbkd.execution.job_pool",
        "WorkerProbe": "pbkd.execution.remote.probe",
        "WorkerRequest": "pbkd.execution.worker_request",
        "apply_delta": "pbkd.execution.remote.folder_sync",
        "check_reachable": "pbkd.execution.remote.reachability",
        "current_coordinator": "pbkd.execution.remote.current",
        "divide_resources": "pbkd.execution.workers",
        "emit_heartbeats": "pbkd.execution.heartbeat",
        "independent_jobs": "pbkd.execution.job_pool",
        "measure_link": "pbkd.execution.remote.probe",
        "modules_to_preload": "pbkd.execution.preload",
        "pack_folder": "pbkd.execution.remote.folder_sync",
        "pack_job": "pbkd.execution.job_pool",
        "prepare_probe": "pbkd.execution.remote.probe",
        "private_store": "pbkd.execution.store",
        "record_lost_process": "pbkd.execution.launcher_events",
        "record_restart": "pbkd.execution.launcher_events",
        "stream_work": "pbkd.execution.remote.working_copy",
        "watch_heartbeats": "pbkd.execution.heartbeat",
        "worker_from_probe": "pbkd.execution.remote.probe",
        "writable_files": "pbkd.execution.remote.worker_files",
    },
)
