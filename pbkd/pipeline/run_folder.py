"""The run folder, opened anew or again: everything that workers need, and the run's identity."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.config.load import to_yaml
from pbkd.core.events import Resumed
from pbkd.core.files import flush_to_disk
from pbkd.pipeline.initial_weights import write_builders, write_initial_weights
from pbkd.pipeline.own_runs import remember_code
from pbkd.pipeline.plan import cost_table
from pbkd.plugin.user_code import named_observers, named_plugins, other_code
from pbkd.runs.configuration import write_configuration
from pbkd.runs.curves import point_folder, share_files
from pbkd.runs.events import EventLog, record_event
from pbkd.runs.folder import new_run_folder, point_latest, times_resumed
from pbkd.runs.identity import check_identity, write_identity
from pbkd.runs.lock import locked
from pbkd.runs.plan_files import write_plan

if TYPE_CHECKING:
    from contextlib import ExitStack

    from pbkd.config.schema import RunConfig
    from pbkd.core.events import Emit
    from pbkd.pipeline.context import RunContext
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.plugin.registry import Registry


__all__ = ["open_folder", "open_point", "reopen_folder", "resumed_note"]


def open_folder(stack: ExitStack, registry: Registry, planned: PlannedRun) -> Path:
    """Create the folder of a new run.

    Args:
        stack: Keeps the folder locked.
        registry: The plugins.
        planned: The planned run.

    Returns:
        The folder, with configuration, plan and initial weights.
    """
    config = planned.config
    folder = new_run_folder(Path(config.out), planned.task.teacher.name)
    stack.enter_context(locked(folder))
    _remember_code(folder, registry, config)  # before the run can be resumed
    write_configuration(folder, to_yaml(config))
    write_builders(folder, planned.plan)
    write_initial_weights(folder, planned.replacements)
    write_identity(folder, config, planned.task)
    write_plan(folder, planned.plan, cost_table(planned))
    return folder


def open_point(stack: ExitStack, curve: RunContext, planned: PlannedRun, emit: Emit) -> RunContext:
    """Open a point of a curve, whose teacher-fed phase and scores are there.

    Args:
        stack: Keeps the point's folder locked.
        curve: The curve.
        planned: The planned run of the point alone.
        emit: Gets the events of the point, which its folder records.

    Returns:
        The point. Weights and scores are shared with the curve's; the events so far are copied.
    """
    folder = _open_point_folder(stack, curve.registry, planned, curve.folder)
    log = EventLog(emit)
    log.record_in(folder)
    return replace(curve, planned=planned, folder=folder, log=log)


def _open_point_folder(
    stack: ExitStack, registry: Registry, planned: PlannedRun, curve: Path
) -> Path:
    config = planned.config
    folder = point_folder(curve, f"{config.target.macs:g}")
    if folder.is_dir():
        stack.enter_context(locked(folder))
        record_event(folder, "host", Resumed())
        return folder
    _remember_code(folder, registry, config)
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    share_files(curve, unfinished)
    write_configuration(unfinished, to_yaml(config))
    write_identity(unfinished, config, planned.task)
    unfinished.rename(folder)
    flush_to_disk(folder.parent)
    stack.enter_context(locked(folder))
    return folder


def reopen_folder(folder: Path, registry: Registry, planned: PlannedRun) -> Path:
    """Open the folder of a run that is resumed; its initial weights stay.

    Args:
        folder: The run folder.
        registry: The plugins.
        planned: The planned run.

    Returns:
        The folder.

    Raises:
        IdentityError: If the folder belongs to another run.
    """
    check_identity(folder, planned.config, planned.task)
    _remember_code(folder, registry, planned.config)
    write_configuration(folder, to_yaml(planned.config))
    write_builders(folder, planned.plan)
    write_plan(folder, planned.plan, cost_table(planned))
    record_event(folder, "host", Resumed())
    if folder.with_name("latest").is_symlink():
        point_latest(folder)
    return folder


def _remember_code(folder: Path, registry: Registry, config: RunConfig) -> None:
    others = other_code(registry, config.teacher["name"], config.data["name"], config.launcher)
    observers = named_observers(config.observers)
    remember_code(folder, [*named_plugins(config.plugins), *others, *observers])


def resumed_note(folder: Path) -> list[str]:
    """Note how often the run was resumed, if it was."""
    times = times_resumed(folder)
    if not times:
        return []
    return [
        f"The run was resumed {times} time(s): its phases' seconds, CPU seconds and joules are"
        " those since it was last resumed."
    ]
