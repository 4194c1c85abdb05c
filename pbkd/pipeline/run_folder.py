"""The run folder, opened anew or again: everything that workers need, and the run's identity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.config.load import to_yaml
from pbkd.core.events import Resumed
from pbkd.pipeline.initial_weights import write_initial_weights
from pbkd.pipeline.plan import cost_table
from pbkd.runs.configuration import write_configuration
from pbkd.runs.events import record_event
from pbkd.runs.folder import new_run_folder, point_latest, times_resumed
from pbkd.runs.identity import check_identity, write_identity
from pbkd.runs.lock import locked
from pbkd.runs.plan_files import write_plan

if TYPE_CHECKING:
    from contextlib import ExitStack

    from pbkd.pipeline.plan import PlannedRun


__all__ = ["open_folder", "reopen_folder", "resumed_note"]


def open_folder(stack: ExitStack, planned: PlannedRun) -> Path:
    """Create the folder of a new run.

    Args:
        stack: Keeps the folder locked.
        planned: The planned run.

    Returns:
        The folder, with configuration, plan and initial weights.
    """
    config = planned.config
    folder = new_run_folder(Path(config.out), planned.task.teacher.name)
    stack.enter_context(locked(folder))
    write_configuration(folder, to_yaml(config))
    write_initial_weights(folder, planned.replacements)
    write_identity(folder, config, planned.task)
    write_plan(folder, planned.plan, cost_table(planned))
    return folder


def reopen_folder(planned: PlannedRun, folder: Path) -> Path:
    """Open the folder of a run that is resumed; its initial weights stay.

    Args:
        planned: The planned run.
        folder: The run folder.

    Returns:
        The folder.

    Raises:
        IdentityError: If the folder belongs to another run.
    """
    check_identity(folder, planned.config, planned.task)
    write_configuration(folder, to_yaml(planned.config))
    write_plan(folder, planned.plan, cost_table(planned))
    record_event(folder, "host", Resumed())
    if folder.with_name("latest").is_symlink():
        point_latest(folder)
    return folder


def resumed_note(folder: Path) -> list[str]:
    """Note how often the run was resumed, if it was."""
    times = times_resumed(folder)
    if not times:
        return []
    return [
        f"The run was resumed {times} time(s): its phases' seconds, CPU seconds and joules are"
        " those since it was last resumed."
    ]
