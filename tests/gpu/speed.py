"""Speed and energy of `single-pass` over `serial`, as `pbkd bench` measures them on one worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pbkd.bench.cross_checks import check_predictions
from pbkd.bench.host import BenchSettings, run_benchmark
from pbkd.bench.report import rows
from pbkd.bench.result import BenchResult
from pbkd.errors import BenchError
from pbkd.plugin.registry import build_registry
from tests.gpu.parts import Card, Outcome, ShortfallError

__all__ = ["resnet50", "resnet56", "vgg16"]

_SAVED = 0.6  # of the joules
_THREADS = 4


def vgg16(card: Card) -> Outcome:
    """VGG-16 at 32 x 32; without a GPU, the benchmark's smallest network."""
    if not card.is_gpu:
        return _measured(card, "digits", (64,), 0.0)
    return _measured(card, "vgg16-cifar", (1024, 64), 4.0)


def resnet50(card: Card) -> Outcome:
    """ResNet-50 at 224 x 224."""
    return _measured(card, "resnet50-imagenet", (64,), 3.0)


def resnet56(card: Card) -> Outcome:
    """ResNet-56 at 32 x 32."""
    return _measured(card, "resnet56-cifar", (1024, 128), 5.0)


def _measured(card: Card, preset: str, batches: Sequence[int], wanted: float) -> Outcome:
    """Measure a preset with each batch; the first is the one that counts."""
    registry = build_registry()
    figures: dict[str, Any] = {}
    for batch in batches:
        meters = ("nvml",) if card.is_gpu else ()
        settings = BenchSettings(1, _THREADS, 1, meters, batch)
        folder = card.work / f"{preset}-{batch}"
        result = run_benchmark(registry, preset, folder, settings)
        figures[str(batch)] = _figures(result, card.idle_watts)
    counted = figures[str(batches[0])]
    line = f"{preset}: " + "; ".join(_line(*item) for item in figures.items())
    saved = counted.get("saved")
    short = counted["ratio"] < wanted or (wanted and saved is not None and saved < _SAVED)
    if short:
        raise ShortfallError(f"{line}: short of {wanted:g}x or of {100 * _SAVED:.0f} % of joules")
    return Outcome(line, figures)


def _figures(result: BenchResult, idle_watts: float | None) -> dict[str, Any]:
    seconds = {p.name: p.seconds.median for p in result.procedures}
    figures: dict[str, Any] = {
        "ratio": result.speedups["single-pass / serial"].median,
        "seconds": seconds,
        "peak_bytes": {p.name: p.peak_bytes for p in result.procedures},
        "table": rows(result),
        "predictions": _off(result),
        "device": result.environment["device"],
    }
    saving = next(s for s in result.savings if s.counted == "all devices")
    if saving.e1_joules is None or saving.en_joules is None:
        return {**figures, "joules": f"not measured: {saving.reason}"}
    joules = {"serial": saving.e1_joules, "single-pass": saving.en_joules}
    figures |= {"joules": joules, "saved": saving.share, "papers": saving.papers}
    if idle_watts is not None:
        above = {name: joules[name] - idle_watts * seconds[name] for name in joules}
        figures["joules_above_idle"] = above
        figures["saved_above_idle"] = 1 - above["single-pass"] / above["serial"]
    return figures


def _off(result: BenchResult) -> str:
    try:
        check_predictions(result.procedures)
    except BenchError as error:
        return str(error)
    return "within a quarter"


def _line(batch: str, figures: Mapping[str, Any]) -> str:
    line = f"batch {batch}: {figures['ratio']:.2f}x"
    if "saved" in figures:
        line += f", {100 * figures['saved']:.0f} % of joules saved"
    if "saved_above_idle" in figures:
        line += f" ({100 * figures['saved_above_idle']:.0f} % above idle)"
    return line
