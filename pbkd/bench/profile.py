"""Profile of a single pass, by torch's profiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from pbkd.bench.rig import build_rigs
from pbkd.core.devices import pick_device
from pbkd.core.files import write_file
from pbkd.core.process import keep_freed_memory, thread_count
from pbkd.training.feeds import recompute

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pbkd.bench.presets import Preset
    from pbkd.plugin.registry import Registry

__all__ = ["KINDS", "profile_single_pass", "shares"]

KINDS = {
    "convolution and matrix product": ("conv", "addmm", "mm", "linear"),
    "normalisation": ("batch_norm",),
    "activation, addition, pooling": ("relu", "threshold", "clamp", "add", "pool"),
    "loss": ("norm", "sub", "mul", "MeanSquaredError", "div", "mean", "sum"),
    "optimiser": ("adam", "optimizer", "foreach"),
}
_STEPS = 4


def profile_single_pass(
    registry: Registry, preset: Preset, folder: Path, threads: int
) -> dict[str, float]:
    """Profile some steps of one worker that trains all blocks in one teacher pass.

    Args:
        registry: Provides models, partitioners, builders and losses.
        preset: The network and its images.
        folder: Gets `profile.txt`, torch's table, and `trace.json`, for trace viewers.
        threads: CPU threads.

    Returns:
        The fraction of the time, 0 to 1, of each kind of operation.
    """
    keep_freed_memory()
    with thread_count(threads):
        rig, _ = build_rigs(registry, preset, 0, torch.device(pick_device("auto")))
        names = list(rig.blocks)
        rig.train(names, recompute(rig.chain, names, rig.batches(2)))  # warm-up
        with profile(activities=_activities()) as profiler:
            rig.train(names, recompute(rig.chain, names, rig.batches(_STEPS)))
    averages = profiler.key_averages()
    table = averages.table(sort_by="self_cpu_time_total", row_limit=30, max_name_column_width=60)
    write_file(folder / "profile.txt", table.encode())
    profiler.export_chrome_trace(str(folder / "trace.json"))
    return shares((event.key, float(_self_time(event))) for event in averages)


def shares(times: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the fraction of the time of each kind of operation, `other` last."""
    totals = dict.fromkeys([*KINDS, "other"], 0.0)
    for name, time in times:
        totals[_kind(name)] += time
    whole = sum(totals.values()) or 1.0
    return {kind: time / whole for kind, time in totals.items()}


def _kind(name: str) -> str:
    low = name.lower()
    if "batch_norm" in low:
        return "normalisation"
    return next((kind for kind, parts in KINDS.items() if any(p.lower() in low for p in parts)),
                "other")  # fmt: skip


def _activities() -> list[ProfilerActivity]:
    cuda = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    return [ProfilerActivity.CPU, *cuda]


def _self_time(event: Any) -> float:
    """Return the microseconds on the accelerator if there is one, otherwise on the CPU.

    An accelerator's kernels are events as well, whose time their operation has already.
    """
    if not torch.cuda.is_available():
        time: float = event.self_cpu_time_total
    else:
        time = event.self_device_time_total if event.device_type == DeviceType.CPU else 0.0
    return time
