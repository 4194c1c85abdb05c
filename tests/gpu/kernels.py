"""Where a step's time goes: in kernels or between them; and what ways of starting them change."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity
from torch.profiler import profile as profiling

from pbkd.bench.presets import find_preset
from pbkd.bench.rig import Rig, build_rigs
from pbkd.models.precision import autocast
from pbkd.plugin.registry import build_registry
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.distill import train_job
from pbkd.training.feeds import recompute
from pbkd.training.learner import new_learner
from tests.gpu.parts import Card, Outcome, ShortfallError

__all__ = ["profile"]

_PRESETS = {"resnet50-imagenet": 64, "vgg16-cifar": 1024, "resnet56-cifar": 1024}
_BUSY = 0.85  # of ResNet-50 at 224
_SECONDS, _PROFILED = 1.0, 4


def profile(card: Card) -> Outcome:
    """Profile single-pass, and the same steps started in other ways."""
    registry, device = build_registry(), torch.device(card.device, 0)
    figures: dict[str, Any] = {}
    for name, batch in _PRESETS.items():
        rig, _ = build_rigs(registry, find_preset(name, batch), 0, device)
        figures[name] = {}
        for way, make in _WAYS.items():
            try:
                figures[name][way] = _timed(make(rig))
            except Exception as error:  # a way that fails is a finding
                figures[name][way] = {"error": f"{type(error).__name__}: {error}"[:300]}
        del rig
        torch.cuda.empty_cache()
    line = "; ".join(f"{name}: {_line(ways)}" for name, ways in figures.items())
    busy = figures["resnet50-imagenet"]["eager"]["busy"]
    if busy < _BUSY:
        raise ShortfallError(f"{line}: ResNet-50 short of {_BUSY:.0%}")
    return Outcome(line, figures)


def _line(ways: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [
        f"{way} {1000 * each['seconds']:.1f} ms, {100 * each['busy']:.0f} % in kernels"
        if "seconds" in each
        else f"{way} fails"
        for way, each in ways.items()
    ]
    return ", ".join(parts)


def _timed(steps: Callable[[int], object]) -> dict[str, Any]:
    """Time steps, and count their kernels in a profile of a few more."""
    steps(4)
    torch.cuda.synchronize()
    start = time.perf_counter()
    steps(4)
    torch.cuda.synchronize()
    count = max(4, round(4 * _SECONDS / (time.perf_counter() - start)))
    start = time.perf_counter()
    steps(count)
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / count
    with profiling(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        steps(_PROFILED)
        torch.cuda.synchronize()
    kernels = [
        event
        for event in profiler.events() or ()
        if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    ]
    by_name: dict[str, float] = {}
    for kernel in kernels:
        time_of = kernel.self_device_time_total / 1e6 / _PROFILED
        by_name[kernel.name] = by_name.get(kernel.name, 0.0) + time_of
    in_kernels = sum(by_name.values())
    longest = sorted(by_name.items(), key=lambda item: -item[1])[:12]
    return {
        "seconds": seconds,
        "kernel_seconds": in_kernels,
        "busy": min(1.0, in_kernels / seconds),
        "launches": len(kernels) / _PROFILED,
        "longest": {name[:100]: seconds for name, seconds in longest},
    }


def _eager(rig: Rig, dtype: torch.dtype = torch.float32) -> Callable[[int], object]:
    """The loop as it is."""
    chain = nn.Sequential()
    for name, segment in rig.chain.named_children():
        chain.add_module(name, autocast(segment, dtype))
    learners = {
        name: new_learner(copy.deepcopy(r), rig.optimisation, steps=1_000_000, dtype=dtype)
        for name, r in rig.replacements.items()
    }
    losses = dict.fromkeys(learners, AppliedLoss(rig.loss))
    blocks = list(learners)

    def steps(count: int) -> None:
        batches = (images.to(dtype) for images in rig.batches(count))
        for learner in learners.values():
            learner.losses.clear()
        train_job(learners, [recompute(chain, blocks, batches)], losses)
        failed = {name: each.failure for name, each in learners.items() if each.failure}
        assert not failed, failed

    return steps


def _in_bfloat16(rig: Rig) -> Callable[[int], object]:
    return _eager(rig, torch.bfloat16)


def _tried(rig: Rig) -> Callable[[int], object]:
    """Let cuDNN try its algorithms, and take the fastest."""
    eager = _eager(rig)

    def steps(count: int) -> None:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            eager(count)

    return steps


@dataclass
class _Plain:
    """A bare step of all blocks: what is left if pbkd's own bookkeeping costs nothing."""

    rig: Rig
    replacements: dict[str, nn.Module]
    optimisers: list[torch.optim.Optimizer]

    def __call__(self, images: Tensor) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss, x = AppliedLoss(self.rig.loss), images
        for name, segment in self.rig.chain.named_children():
            with torch.no_grad():
                y = segment(x)
            if name in self.replacements:
                loss(self.replacements[name](x), y).backward()  # type: ignore[no-untyped-call]
            x = y
        for optimiser in self.optimisers:
            optimiser.step()


def _plain(rig: Rig, *, one: bool, capturable: bool = False) -> _Plain:
    """Make bare steps, with an optimiser for each block, or with one for all."""
    replacements = {name: copy.deepcopy(r).train() for name, r in rig.replacements.items()}
    groups = [list(r.parameters()) for r in replacements.values()]
    if one:
        groups = [[parameter for group in groups for parameter in group]]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(group, lr=1e-3, fused=True, capturable=capturable) for group in groups
    ]
    return _Plain(rig, replacements, optimisers)


def _one_optimiser(rig: Rig) -> Callable[[int], object]:
    return _each(rig, _plain(rig, one=True))


def _bare(rig: Rig) -> Callable[[int], object]:
    return _each(rig, _plain(rig, one=False))


def _each(rig: Rig, step: _Plain) -> Callable[[int], object]:
    def steps(count: int) -> None:
        for images in rig.batches(count):
            step(images)

    return steps


def _graph(rig: Rig) -> Callable[[int], object]:
    """Capture a step, and replay it on each batch."""
    step = _plain(rig, one=True, capturable=True)
    static = rig.images[0].clone()
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            step(static)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(static)

    def steps(count: int) -> None:
        for images in rig.batches(count):
            static.copy_(images)
            graph.replay()

    return steps


_WAYS: Mapping[str, Callable[[Rig], Callable[[int], object]]] = {
    "eager": _eager,
    "bfloat16": _in_bfloat16,
    "tried": _tried,
    "bare": _bare,
    "one optimiser": _one_optimiser,
    "graph": _graph,
}
