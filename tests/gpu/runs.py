"""Parts that are runs of pbkd: what holds for every run, on the device."""

from __future__ import annotations

import copy
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import pbkd
from pbkd.config.load import load_config
from pbkd.core.events import BlockTrained, Event, PlanMade
from pbkd.core.results import RunResult
from pbkd.data.prefetch import prefetch_images
from pbkd.models.export import create_exporter, export
from pbkd.models.student_files import RECIPE, read_recipe
from pbkd.models.weights import fingerprint
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.training.task import build_task
from tests.gpu.parts import Card, Outcome, ShortfallError

__all__ = [
    "check_student",
    "exports",
    "half_precision",
    "image_folder",
    "out_of_memory",
    "quickstart",
    "settings",
    "short_run",
]

_FALL = 0.05  # of the accuracy, beyond which a student is no student
_TOLERANCE = 1e-6  # of the largest logit, between a GPU and a CPU in float64
_SHORT = ("distill.epochs=3", "distill.student_fed_epochs=1", "finetune.epochs=2")
_FORMATS = {
    "torchscript": (),
    "torch-export": (),
    "safetensors": (),
    "pytorch": (),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "executorch": ("executorch",),
}


def settings(card: Card, name: str) -> list[str]:
    """Return the overrides of every run: the device, a folder of its own, and no meters."""
    return [f"device={card.device}", f"out={card.work / name}", "meters=[]"]


def short_run(
    card: Card, name: str, *overrides: str, plugins: tuple[str, ...] = (), emit: Any = None
) -> RunResult:
    """Run the digits teacher for a few epochs."""
    registry = build_registry(list(plugins))
    provided = registry.provided(list(plugins))
    config = load_config([*settings(card, name), *_SHORT, *overrides], plugins=provided)
    return run(config, registry, emit or (lambda _event: None))


def quickstart(card: Card) -> Outcome:
    """Run the quickstart, on a CPU for a few epochs; and so with the other teacher."""
    figures: dict[str, Any] = {}
    whole = ("meters=[nvml]",) if card.is_gpu else _SHORT
    for name, epochs in {"digits-vgg": whole, "digits-resnet": _SHORT}.items():
        config = load_config([*settings(card, "quickstart"), f"teacher={name}", *epochs])
        start = time.perf_counter()
        result = run(config, build_registry())
        figures[name] = {
            "seconds": time.perf_counter() - start,
            "phases": {phase.name: phase.seconds for phase in result.phases},
            "joules": {phase.name: phase.joules for phase in result.phases},
            "energy": _energy(result),
            "workers": result.environment["workers"],
            **_invariants(card, f"teacher={name}"),
            **check_student(card, result),
        }
    parts = [
        f"{name} {100 * each['teacher']:.1f} to {100 * each['student']:.1f} % in"
        f" {each['seconds']:.0f} s"
        for name, each in figures.items()
    ]
    worst = max(each["difference"] for each in figures.values())
    return Outcome(f"{', '.join(parts)}; logits on the CPU within {worst:.0e}", figures)


def _energy(result: RunResult) -> Any:
    energy = result.energy
    return energy and {d.name: (d.joules, d.above_idle, d.reason) for d in energy.domains}


def _invariants(card: Card, *overrides: str) -> dict[str, Any]:
    """Compare the chain with its teacher on the device; a run itself checks both, too."""
    config = load_config([*settings(card, "unused"), *overrides])
    task = build_task(config, build_registry(), card.device)
    before, images = fingerprint(task.teacher.network), task.images
    with torch.no_grad():
        expected = task.teacher.network(images)
        differences = {
            name: float((network(images) - expected).abs().max() / expected.abs().max())
            for name, network in (("chain", task.chain), ("folded", task.fused))
        }
    if differences["chain"] > 1e-5 or differences["folded"] > 1e-2:
        raise ShortfallError(f"the chain differs from its teacher: {differences}")
    assert fingerprint(task.teacher.network) == before
    return {"chain_difference": differences}


def check_student(card: Card, result: RunResult, fall: float = _FALL) -> dict[str, Any]:
    """Load the student on the CPU, and compare its logits with the device's; and its accuracy."""
    assert result.student.network is not None, "the result is of this process"
    student = copy.deepcopy(result.student.network).to(card.device).double().eval()
    loaded = pbkd.load(result.folder)
    assert {p.device.type for p in loaded.parameters()} == {"cpu"}
    loaded = loaded.double()
    shape = read_recipe(Path(result.folder) / "student" / RECIPE).image_shape
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, *shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        there, here = student(images.to(card.device)).cpu(), loaded(images)
    difference = float((there - here).abs().max() / here.abs().max())
    teacher, accuracy = result.teacher.accuracy or 0.0, result.student.accuracy or 0.0
    replaced = sum(bool(block.replaced) for block in result.blocks)
    figures = {"difference": difference, "teacher": teacher, "student": accuracy}
    if difference > _TOLERANCE or accuracy < teacher - fall or not replaced:
        raise ShortfallError(f"the student in '{result.folder}' is wrong: {figures}, {replaced}")
    return {**figures, "replaced": replaced}


def half_precision(card: Card) -> Outcome:
    """Train in both half precisions; a CPU has bfloat16 only."""
    figures = {}
    for autocast in ("fp16", "bf16") if card.is_gpu else ("bf16",):
        fewer = () if card.is_gpu else ("distill.student_fed_epochs=0", "finetune.epochs=1")
        result = short_run(card, autocast, f"autocast={autocast}", *fewer)
        losses = {block.name: block.teacher_fed_losses for block in result.blocks}
        fallen = [name for name, each in losses.items() if each and each[-1] < each[0]]
        failed = {b.name: b.first_failure for b in result.blocks if b.first_failure}
        figures[autocast] = {**check_student(card, result), "fallen": fallen, "failed": failed}
        if failed or len(fallen) < 3:
            raise ShortfallError(f"{autocast}: {failed or losses}")
    line = ", ".join(f"{name} {100 * each['student']:.1f} %" for name, each in figures.items())
    return Outcome(f"students of {line}", figures)


_HUNGRY = '''
from pathlib import Path

import torch
from torch import nn

from pbkd import hookimpl
from pbkd_separable import SeparableBuilder


class Hungry(nn.Module):
    """More than 32 rows need more memory than there is, once the plan is made."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        if self.training and len(x) > 32 and Path(__file__).with_name("planned").exists():
            free = torch.cuda.mem_get_info()[0] if x.is_cuda else 2**60
            torch.empty(free + 2**30, dtype=torch.uint8, device=x.device)
        return self.inner(x)


class HungryBuilder(SeparableBuilder):
    name = "hungry"

    def build(self, segment, block):
        built = super().build(segment, block)
        return Hungry(built) if built is not None and block.name == "conv2_1" else built


@hookimpl
def register_builders():
    return [HungryBuilder]
'''


def out_of_memory(card: Card) -> Outcome:
    """Let the allocator refuse a block's memory, and train it again in micro-batches."""
    plugin = card.work / "hungry" / "hungry.py"
    plugin.parent.mkdir(exist_ok=True)
    plugin.write_text(_HUNGRY)
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, PlanMade):
            plugin.with_name("planned").touch()

    result = short_run(
        card,
        "memory",
        "builder=hungry",
        "builder.stem=true",
        "finetune.epochs=0",
        plugins=(str(plugin),),
        emit=emit,
    )
    trained = [e for e in events if isinstance(e, BlockTrained) and e.block == "conv2_1"]
    failures = [event.failure for event in trained if event.failure]
    block = next(block for block in result.blocks if block.name == "conv2_1")
    if block.first_failure != "its training ran out of memory" or not block.teacher_fed_losses:
        raise ShortfallError(f"the block was not trained again: {failures}, {block.reason}")
    return Outcome(f"the block failed once ({block.first_failure}), and was trained", {})


def image_folder(card: Card) -> Outcome:
    """Train on pictures of a folder, read by threads and by processes."""
    from PIL import Image

    folder, generator = card.work / "pictures", torch.Generator().manual_seed(0)
    for number in range(400):
        path = folder / f"{number % 10}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(256, (40, 40, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(path)
    choice = ["data.name=imagefolder", f"data.path={folder}", "data.size=32"]
    choice += ["teacher=resnet20-cifar10", "allow_chance=true", "target.block_drop=100"]
    figures: dict[str, Any] = {}
    for workers in (0, 2):
        own = [*choice, f"data.workers={workers}"]
        task = build_task(load_config(own), build_registry(), card.device)
        rows = torch.arange(32)
        (images,) = prefetch_images(task.data.train, [(rows, None)])
        is_pinned = card.is_gpu and images.is_pinned()
        if is_pinned != card.is_gpu:
            raise ShortfallError(f"with {workers} processes the images are not in pinned memory")
        result = short_run(card, f"folder{workers}", *own, "distill.epochs=1")
        figures[str(workers)] = {phase.name: phase.seconds for phase in result.phases}
    pinned = "in pinned memory" if card.is_gpu else "in memory that is not pinned"
    return Outcome(f"read by threads and by 2 processes, {pinned}", figures)


def exports(card: Card) -> Outcome:
    """Export a student that is on the device."""
    student = pbkd.load("digits-vgg-small").to(card.device)
    differences, left_out = {}, []
    for name, packages in _FORMATS.items():
        if lacking := [package for package in packages if find_spec(package) is None]:
            left_out.append(f"{name} (no {', '.join(lacking)})")
            continue
        exporter = create_exporter(build_registry(), name, {})
        done = export(student, exporter, card.work / f"exported-{name}".replace("-", "_"))
        differences[name] = done.likeness.difference
    assert {p.device.type for p in student.parameters()} == {card.device}
    without = f"; without {'; '.join(left_out)}" if left_out else ""
    return Outcome(f"{', '.join(differences)}{without}", differences)
