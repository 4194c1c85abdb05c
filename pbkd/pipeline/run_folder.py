"""The folder of a run, opened anew or again: everything that its workers need, and its identity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.config.load import to_yaml
from pbkd.core.events import Resumed
from pbkd.core.files import write_file
from pbkd.models.weights import write_weights
from pbkd.pipeline.plan import cost_table
from pbkd.runs.events import record_event
from pbkd.runs.folder import locked, new_run_folder, times_resumed
from pbkd.runs.identity import check_identity, write_identity
from pbkd.runs.plan_files import write_plan

if TYPE_CHECKING:
    from contextlib import ExitStack

    from pbkd.pipeline.plan import PlannedRun


__all__ = ["open_folder", "reopen_folder", "resumed_note"]


def open_folder(planned_run: PlannedRun, stack: ExitStack) -> Path:
    """Create the run folder with everything that its workers need, locked until `stack` ends."""
    folder = new_run_folder(Path(planned_run.config.out), planned_run.task.teacher.name)
    stack.enter_context(locked(folder))
    write_file(folder / "config.yaml", to_yaml(planned_run.config).encode())
    for name, replacement in planned_run.replacements.items():
        write_weights(folder / "initial" / f"{name}.safetensors", replacement.state_dict())
    write_identity(folder, planned_run.config, planned_run.task)
    write_plan(folder, planned_run.plan, cost_table(planned_run))
    return folder


def reopen_folder(planned_run: PlannedRun, folder: Path) -> Path:
    """Check that the folder is of this very run; its first weights stay as they are."""
    check_identity(folder, planned_run.config, planned_run.task)
    write_file(folder / "config.yaml", to_yaml(planned_run.config).encode())
    write_plan(folder, planned_run.plan, cost_table(planned_run))
    record_event(folder, "host", Resumed())
    return folder


def resumed_note(folder: Path) -> list[str]:
    """Return the note that the result of a resumed run needs; nothing for another run."""
    times = times_resumed(folder)
    if not times:
        return []
    return [
        f"The run was resumed {times} time(s): its phases' seconds, CPU seconds and joules are"
        " those since it was last resumed."
    ]
