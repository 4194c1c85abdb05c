from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import pbkd
from pbkd.config.load import load_config
from pbkd.core.files import write_json
from pbkd.errors import ConfigError, PluginError, UnknownNameError
from pbkd.models.metrics import macs, parameters
from pbkd.pipeline.plan import plan_run
from pbkd.pipeline.predict_phases import expected_candidates
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from pbkd.core.results import RunResult
    from pbkd.plugin.registry import Registry

RANKS = (
    "candidates=[{name: separable, rank: 2, stem: true}, {name: separable, rank: 3, stem: true}]"
)
QUICK = [
    "meters=[]", "threads=1", "distill.epochs=1", "distill.student_fed_epochs=1",
    "finetune.epochs=0", "recalibrate_batches=0", "target.block_drop=100", "builder=separable",
    "builder.stem=true",
]  # fmt: skip


def compressed(tmp_path: Path, *overrides: str) -> RunResult:
    data = few_digits(tmp_path.parent, training=300)
    config = load_config([*QUICK, *data, f"out={tmp_path}", *overrides])
    return run(config, build_registry())


def test_the_student_keeps_a_budget_of_macs_and_of_parameters(tmp_path: Path) -> None:
    result = compressed(tmp_path, RANKS, "target.macs=0.3", "target.parameters=0.35")
    teacher, student = result.teacher, result.student
    assert 0.25 < student.macs / teacher.macs <= 0.3
    assert student.parameters / teacher.parameters <= 0.35
    ranks = {block.builder.get("rank", 1) for block in result.blocks if block.replaced}
    assert len(ranks) > 1  # else the budget has decided nothing
    loaded = pbkd.load(result.folder)
    assert macs(loaded, (1, 8, 8)) == student.macs
    assert parameters(loaded) == student.parameters
    assert len(result.candidates) == 3 * len(result.blocks)
    assert any("exact choice" in note for note in result.notes)


def test_what_is_left_out_is_told_with_why(tmp_path: Path) -> None:
    result = compressed(tmp_path, "target.macs=0.6")
    kept = [block for block in result.blocks if not block.replaced]
    assert kept
    assert {block.reason for block in kept} == {"the budget keeps the teacher's segment"}
    assert result.student.macs / result.teacher.macs <= 0.6
    assert result.candidates == ()


@pytest.mark.slow
def test_a_candidate_is_trained_as_if_it_were_the_only_one(tmp_path: Path) -> None:
    both = compressed(tmp_path / "a", RANKS, "target.macs=0.2")
    alone = compressed(tmp_path / "b", "builder.rank=2")
    for block in alone.blocks:
        names = [f"{block.name}.1", block.name]
        files = [
            Path(result.folder) / "teacher-fed" / f"{name}.safetensors"
            for result, name in zip((both, alone), names, strict=True)
        ]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_candidates_are_the_same_for_every_feed(tmp_path: Path) -> None:
    # Of a student-fed phase that workers share the weights are the same up to rounding.
    def weights(folder: str, *overrides: str) -> list[bytes]:
        changes = [RANKS, "target.macs=0.8", "keep=[stem*, head*, conv1*, conv2*]", "data.crop=0"]
        result = compressed(tmp_path / folder, *changes, *overrides)
        return [
            path.read_bytes()
            for path in sorted(Path(result.folder).glob("teacher-fed/*.safetensors"))
        ]

    first = weights("a", "scheduler=round-robin")
    assert weights("b", "scheduler=pipeline", "workers=2") == first
    assert weights("c", "scheduler=cached", "cache_gigabytes=1") == first


def test_candidates_of_several_builders_are_trained_together(tmp_path: Path) -> None:
    names = ["ghost", "identity", "inverted-residual", "low-rank"]
    changes = ["teacher=digits-resnet", f"candidates=[{', '.join(names)}]", "target.macs=0.45"]
    result = compressed(tmp_path, *changes, "keep=[stem*, head*, layer1*]")
    tried = {(found.name.split(".")[0], found.builder["name"]) for found in result.candidates}
    assert {name for block, name in tried if block == "layer2_1"} == {"separable", *names}
    assert ("layer2_0", "identity") not in tried  # that block shrinks the map
    loaded = pbkd.load(result.folder)
    assert macs(loaded, (1, 8, 8)) == result.student.macs


def test_a_budget_of_milliseconds_is_made_of_measured_ones(registry: Registry) -> None:
    config = load_config([*QUICK, RANKS, "target.latency_ms=1000"])
    plan = plan_run(config, registry).plan
    assert plan.other_seconds is not None
    assert plan.other_seconds > 0
    assert all(p.seconds_before and p.seconds_after for p in plan.trained)
    with pytest.raises(ConfigError, match=r"'target.latency_ms' is 0.0001, but the cheapest"):
        plan_run(load_config([*QUICK, RANKS, "target.latency_ms=0.0001"]), registry)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([RANKS], "'candidates' needs a limit to choose by: set"),
        (["target.macs=0.01"], "'target.macs' is 0.01, but the cheapest student needs 0.1"),
        (["target.parameters=0.01"], "'target.parameters' is 0.01, but the cheapest student"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_told_before_training(
    registry: Registry, overrides: list[str], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_run(load_config([*QUICK, *overrides]), registry)
    assert str(caught.value).startswith(told)


def test_the_least_possible_budget_that_is_told_is_possible(registry: Registry) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_run(load_config([*QUICK, "target.macs=0.01"]), registry)
    least = float(str(caught.value).split("student needs ")[1].split(":")[0])
    assert plan_run(load_config([*QUICK, f"target.macs={least + 0.001}"]), registry).plan.trained


def test_candidates_that_were_rejected_leave_the_cheapest_with_a_note(tmp_path: Path) -> None:
    result = compressed(tmp_path, "target.macs=0.13", "target.block_drop=1")
    assert any("cannot meet the budget" in note for note in result.notes)
    assert any("alone it loses" in (block.reason or "") for block in result.blocks)
    assert result.student.macs / result.teacher.macs > 0.13


def test_a_choice_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pbkd.pipeline import finish

    data = few_digits(tmp_path.parent)
    config = load_config([*QUICK, *data, f"out={tmp_path}", RANKS, "target.latency_ms=1000"])

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finish, "assemble", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(config, build_registry())
    folder = next(path for path in tmp_path.iterdir() if path.name != "latest")
    choice = json.loads((folder / "choice.json").read_text())
    assert set(choice["picked"].values()) == {None}  # a second is enough for the teacher
    choice["picked"]["conv2_1"] = "conv2_1.1"
    write_json(folder / "choice.json", choice)
    result = run(config, build_registry(), resume=folder)
    assert [block.name for block in result.blocks if block.replaced] == ["conv2_1"]
    assert torch.is_grad_enabled()


MINE = """
from dataclasses import dataclass
from typing import ClassVar
import pbkd

@dataclass(frozen=True)
class Mine:
    name: ClassVar[str] = "mine"
    fails: bool = False

    def select(self, options, limits):
        if self.fails:
            return {}
        return {block: min(of, key=lambda one: one.costs["macs"]) for block, of in options.items()}

@pbkd.hookimpl
def register_selectors():
    return [Mine]
"""


def test_a_plugins_selector_is_asked_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "my_choice.py").write_text(MINE)
    spec = str(tmp_path / "my_choice.py")
    registry = build_registry([spec])
    words = [*QUICK, "target.macs=0.5", "scheduler=round-robin", "data.crop=0"]
    config = load_config(words, plugins=registry.provided([spec]))
    assert config.target.selector == {"name": "mine"}
    planned = plan_run(config, registry)
    names = expected_candidates(planned)
    assert len(names) == len({p.block.name for p in planned.plan.trained})
    config = load_config([*words, "target.selector.name=mine", "target.selector.fails=true"])
    with pytest.raises(PluginError, match="the selector 'mine' of the plugin 'my_choice.py' sele"):
        plan_run(config, registry)
    config = load_config([*words, "target.selector=mnie"])
    with pytest.raises(UnknownNameError, match="unknown selector 'mnie'. Did you mean 'mine'"):
        plan_run(config, registry)
