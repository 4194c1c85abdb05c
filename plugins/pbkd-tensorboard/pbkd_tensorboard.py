"""A finished run as TensorBoard event files: one run for each block, one for fine-tuning."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd import hookimpl
from pbkd.runs import EpochDone, read_events

if TYPE_CHECKING:
    from pbkd import RunResult

PBKD_CONTRACT = 2

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
            writer.add_scalar(f"loss/{phase}", event.loss, epoch, event.time)
            if event.accuracy is not None:
                writer.add_scalar(f"accuracy/{phase}", event.accuracy, epoch, event.time)
        writer.close()


def _epochs(folder: Path) -> dict[str, dict[tuple[str, int], EpochDone]]:
    """Return all epochs by block, phase and number; the last one where it was done twice.

    The fine-tuned student is listed as `fine-tuning`.
    """
    epochs: dict[str, dict[tuple[str, int], EpochDone]] = {}
    for event in read_events(folder):
        if isinstance(event, EpochDone):
            name = "fine-tuning" if event.phase == "fine-tuning" else event.block
            epochs.setdefault(name, {})[event.phase, event.epoch] = event
    return epochs
