from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from pbkd.config.load import load_config
from pbkd.core.results import Latency
from pbkd.errors import ConfigError, PluginError
from pbkd.models.metrics import macs
from pbkd.pipeline.network_figures import measure_networks
from pbkd.pipeline.plan import plan_run
from pbkd.pipeline.wishes import cost_wishes
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from pbkd.plugin.registry import Registry

QUICK = [
    "meters=[]", "threads=1", "distill.epochs=1", "finetune.epochs=0", "builder=separable",
    "builder.stem=true", "target.speedup=2",
    "candidates=[{name: separable, rank: 2, stem: true}, {name: separable, rank: 3, stem: true}]",
]  # fmt: skip
ROOT = """
from dataclasses import dataclass
from typing import ClassVar

import pbkd
from pbkd.testing import macs

@dataclass(frozen=True)
class Root:
    name: ClassVar[str] = "root"
    fails: bool = False

    def prepare(self, network, images, threads):
        if self.fails:
            raise RuntimeError("no memory")
        assert threads == 1 and not network.training
        run = lambda batch: network(batch)
        run.seconds = macs(network, tuple(images.shape[1:])) ** 0.5
        return run

@pbkd.hookimpl
def register_engines():
    return [Root]
"""


def test_a_wish_of_speed_counts_in_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In torch a network takes as long as it has MACs, in the engine the square root of that."""

    def pretended(
        models: Mapping[str, object], images: Tensor, repeats: int | None = None
    ) -> dict[str, Latency]:
        assert repeats is None
        shape = tuple(images.shape[1:])
        seconds = {n: getattr(m, "seconds", None) or macs(m, shape) for n, m in models.items()}  # type: ignore[arg-type]
        return {name: Latency(each, each, len(images), 1) for name, each in seconds.items()}

    for module in (
        "planning.limits", "pipeline.choice", "models.engines", "pipeline.network_figures",
    ):  # fmt: skip
        monkeypatch.setattr(f"pbkd.{module}.latencies", pretended)
    (tmp_path / "my_engine.py").write_text(ROOT)
    registry = build_registry([str(tmp_path / "my_engine.py")])
    config = load_config([*QUICK, "target.engine=root"])
    planned = plan_run(config, registry)
    assert planned.notes == ()
    saved = {p.name: p.macs_before - p.macs_after for p in planned.plan.trained}
    whole = macs(planned.task.teacher.network, (1, 8, 8))
    assert 1 / 8 < 1 - sum(saved[name] for name in planned.expected) / whole <= 1 / 4
    network = planned.task.teacher.network
    pair = measure_networks(planned.task, network, config.target, planned.tools.engine)
    assert [(each.batch, each.engine) for each in pair[0].latencies] == [
        (1, "torch"), (64, "torch"), (64, "root"),
    ]  # fmt: skip
    (wish,) = cost_wishes(config.target, *pair, 64)
    assert wish.sentence == (
        "target.speedup=2 is not kept: the student is 1.00 times as fast as the teacher for a batch"
        " of 64 in root."
    )
    failing = load_config([*QUICK, "target.engine.name=root", "target.engine.fails=true"])
    with pytest.raises(PluginError, match="engine 'root' .* failed in prepare .*no memory"):
        plan_run(failing, registry)


def test_an_engine_that_is_not_installed_is_told_before_training(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"needs the package onnxruntime: pip install 'pbkd\[ex"):
        plan_run(load_config([*QUICK, "target.engine=onnxruntime"]), registry)
