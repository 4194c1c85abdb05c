"""A run that is killed on the device, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from pbkd.config.load import load_config
from pbkd.models.weights import read_weights
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from tests.gpu.parts import Card, Outcome, ShortfallError
from tests.gpu.runs import check_student, settings

__all__ = ["killed"]

_EPOCHS = ("distill.epochs=20", "distill.student_fed_epochs=0", "finetune.epochs=10")
_ENOUGH = 50  # of 120 epochs of blocks before the kill, with a checkpoint after every 30
_FAR = 0.1  # of a tensor's largest value, where a card's kernels add in another order each time


def killed(card: Card) -> Outcome:
    """Kill a run after some epochs, resume it, and compare it with two undisturbed runs."""
    undisturbed = [_run(card, f"undisturbed{number}") for number in range(2)]
    folder = _kill_one(card)
    result = run(load_config(file=folder / "config.yaml"), build_registry(), resume=folder)
    repeated = _difference(*undisturbed)
    resumed = _difference(undisturbed[0], folder)
    figures = {**check_student(card, result), "repeated": repeated, "resumed": resumed}
    line = (
        f"weights of a run and its repetition differ by {repeated:.1e}, of a resumed one by"
        f" {resumed:.1e} of the largest value"
    )
    if resumed > max(2 * repeated, 0.0 if not card.is_gpu else _FAR):
        raise ShortfallError(line)
    return Outcome(line, figures)


def _run(card: Card, name: str) -> Path:
    config = load_config([*settings(card, name), *_EPOCHS, "workers=1"])
    return Path(run(config, build_registry()).folder)


def _kill_one(card: Card) -> Path:
    """Start a run in a process of its own, and kill it; return its folder."""
    command = [sys.executable, "-m", "pbkd", "run", "--json", *settings(card, "killed"), *_EPOCHS]
    epochs, folder = 0, None
    with subprocess.Popen(
        [*command, "workers=1"], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            event: dict[str, Any] = json.loads(line)
            folder = event.get("folder", folder)
            epochs += event["event"] == "epoch"
            if epochs == _ENOUGH:
                os.killpg(process.pid, signal.SIGKILL)
    if folder is None or epochs < _ENOUGH:
        raise ShortfallError(f"the run ended after {epochs} epochs, before it was killed")
    return Path(folder)


def _difference(one: Path, other: Path) -> float:
    """Return the largest difference of weights, relative to the largest value of their tensor."""
    mine, theirs = (read_weights(path / "student/model.safetensors") for path in (one, other))
    if mine.keys() != theirs.keys():
        raise ShortfallError("other blocks were replaced")
    return max(
        float((tensor.double() - theirs[name].double()).abs().max())
        / max(1e-12, float(tensor.double().abs().max()))
        for name, tensor in mine.items()
        if tensor.dtype == torch.float32 and tensor.numel()
    )
