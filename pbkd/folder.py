"""The folder of a run, opened anew or again: everything that its workers need, and its identity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.config import to_yaml
from pbkd.identity import check_identity, write_identity
from pbkd.journal import new_run_folder, record, write_file
from pbkd.planned import write_plan
from pbkd.planning import cost_table
from pbkd.resume import locked, times_resumed
from pbkd.weights import write_weights

if TYPE_CHECKING:
    from contextlib import ExitStack

    from pbkd.planning import Prospect

__all__ = ["open_folder", "reopen_folder", "resumed_note"]


def open_folder(prospect: Prospect, stack: ExitStack) -> Path:
    """Create the run folder with everything that its workers need, locked until `stack` ends."""
    folder = new_run_folder(Path(prospect.config.out), prospect.prepared.teacher.name)
    stack.enter_context(locked(folder))
    write_file(folder / "config.yaml", to_yaml(prospect.config).encode())
    for name, replacement in prospect.replacements.items():
        write_weights(folder / "initial" / f"{name}.safetensors", replacement.state_dict())
    write_identity(folder, prospect.config, prospect.prepared)
    write_plan(folder, prospect.plan, cost_table(prospect))
    return folder


def reopen_folder(prospect: Prospect, folder: Path) -> Path:
    """Check that the folder is of this very run; its first weights stay as they are."""
    check_identity(folder, prospect.config, prospect.prepared)
    write_file(folder / "config.yaml", to_yaml(prospect.config).encode())
    write_plan(folder, prospect.plan, cost_table(prospect))
    record(folder, "host", "resumed")
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
