"""A finished run as TensorBoard event files: one run for each block, one for fine-tuning."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd import hookimpl
from pbkd.runs.events import read_events

if TYPE_CHECKING:
    from pbkd import RunResult
    from pbkd.core.events import Event

PBKD_CONTRACT = 1

if find_spec("tensorboard") is None:
    raise ImportError("TensorBoard is not installed: pip install 'pbkd[tensorboard]'")


@hookimpl
def run_finished(result: RunResult) -> None:
    """Write the losses of every epoch, with their times, to the folder `tensorboard`."""
    from torch.utils.tensorboard.writer import SummaryWriter

    folder = Path(result.folder)
    for name, epochs in _epochs(folder).items():
        writer = SummaryWriter(str(folder / "tensorboard" / name))
        for (phase, epoch), event in epochs.items():
            for figure in ("loss", "accuracy"):
                if figure in event:
                    writer.add_scalar(f"{figure}/{phase}", event[figure], epoch, event["time"])
        writer.close()


def _epochs(folder: Path) -> dict[str, dict[tuple[str, int], Event]]:
    """Return the events of all epochs by block, phase and epoch; of one done twice the last.

    The whole student, which is fine-tuned, goes by `fine-tuning`.
    """
    found: dict[str, dict[tuple[str, int], Event]] = {}
    for event in read_events(folder):
        if event["event"].endswith(" epoch"):
            phase = event["event"].removesuffix(" epoch")
            found.setdefault(event.get("block", phase), {})[phase, event["epoch"]] = event
    return found
