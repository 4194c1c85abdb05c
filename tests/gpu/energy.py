"""Joules of NVML's counter beside the power that `nvidia-smi` shows meanwhile."""

from __future__ import annotations

import shutil
import subprocess
import time

import torch

from pbkd.energy.monitor import monitor_energy
from pbkd.plugin.registry import build_registry
from tests.gpu.parts import Card, Outcome, ShortfallError

__all__ = ["windows"]

_SECONDS = {"idle": 3.0, "busy": 5.0}
_PERIOD = 100  # milliseconds
_TOLERANCE = 0.15


def windows(card: Card) -> Outcome:
    """Compare both over a window at rest and one of matrix products."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise ShortfallError("there is no nvidia-smi to compare with")
    matrix = torch.randn(8192, 8192, device=card.device, dtype=torch.bfloat16)
    meter = build_registry().create("meter", {"name": "nvml"})
    figures: dict[str, dict[str, float]] = {}
    with monitor_energy([meter]) as monitor:
        for name, seconds in _SECONDS.items():
            command = [program, "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
            with subprocess.Popen(
                [*command, "-i", "0", f"-lms={_PERIOD}"], stdout=subprocess.PIPE, text=True
            ) as reader:
                try:
                    with monitor.window(name):
                        _work(matrix, seconds, busy=name == "busy")
                finally:
                    reader.terminate()
                printed = reader.communicate()[0]
            watts = [float(line) for line in printed.split("\n") if line.strip()[:1].isdigit()]
            window = monitor.windows[name]
            joules = (window.joules or {}).get("gpu0")
            if joules is None or not watts:
                raise ShortfallError(f"{name}: {window.reason or 'nvidia-smi shows no power'}")
            figures[name] = {
                "nvml_watts": joules / window.seconds,
                "nvidia_smi_watts": sum(watts) / len(watts),
                "readings": len(watts),
            }
    line = ", ".join(
        f"{name}: {each['nvml_watts']:.0f} W against {each['nvidia_smi_watts']:.0f} W"
        for name, each in figures.items()
    )
    busy = figures["busy"]
    if abs(busy["nvml_watts"] / busy["nvidia_smi_watts"] - 1) > _TOLERANCE:
        raise ShortfallError(f"{line}: they differ by more than {_TOLERANCE:.0%}")
    return Outcome(line, figures)


def _work(matrix: torch.Tensor, seconds: float, *, busy: bool) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if busy:
            matrix @ matrix
            torch.cuda.synchronize()
        else:
            time.sleep(0.1)
