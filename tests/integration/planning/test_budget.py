from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import pbkd
from pbkd.config.load import load_config
from pbkd.core.files import write_json
from pbkd.core.results import Latency
from pbkd.errors import ConfigError, PluginError, UnknownNameError
from pbkd.models.metrics import macs, parameters
from pbkd.pipeline.plan import plan_run
from pbkd.pipeline.run import run
from pbkd.planning.limits import timed_images
from pbkd.plugin.registry import build_registry
from pbkd.report.card import card
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

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
    assert len(ranks) > 1  # else the target has decided nothing
    loaded = pbkd.load(result.folder)
    assert macs(loaded, (1, 8, 8)) == student.macs
    assert parameters(loaded) == student.parameters
    assert len(result.candidates) == 3 * len(result.blocks)
    assert any("exact choice" in note for note in result.notes)
    assert [(wish.key, wish.is_met) for wish in result.wishes] == [
        ("target.macs", True), ("target.parameters", True),
    ]  # fmt: skip


def test_what_is_left_out_is_told_with_why(tmp_path: Path) -> None:
    result = compressed(tmp_path, "target.macs=0.6")
    kept = [block for block in result.blocks if not block.replaced]
    assert kept
    assert {block.reason for block in kept} == {"the target keeps the teacher's segment"}
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


def test_a_wish_of_speed_is_measured_on_the_whole_student(registry: Registry) -> None:
    config = load_config([*QUICK, RANKS, "target.speedup=1.05", "target.batch=32"])
    planned = plan_run(config, registry)
    plan = planned.plan
    assert all(p.seconds_before and p.seconds_after for p in plan.trained)
    assert plan.other_seconds
    assert plan.latency is not None
    assert plan.latency.factor != 1
    assert timed_images(planned.task, config.target).shape == (32, 1, 8, 8)


def test_what_is_slower_together_than_alone_is_chosen_anew(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each segment takes as long as it has MACs, but a network twice as long as its segments.
    def as_long_as_macs(
        models: Mapping[str, nn.Module], images: Tensor, repeats: int | None = None
    ) -> dict[str, Latency]:
        assert repeats is None
        is_whole = images.shape[1] == 1 and "student" in models
        shape = tuple(images.shape[1:])
        seconds = {name: macs(model, shape) * (1 + is_whole) for name, model in models.items()}
        return {name: Latency(each, each, len(images), 1) for name, each in seconds.items()}

    for module in ("planning.limits", "pipeline.choice"):
        monkeypatch.setattr(f"pbkd.{module}.latencies", as_long_as_macs)
    config = load_config([*QUICK, RANKS, "target.speedup=4"])
    planned = plan_run(config, registry)
    saved = {p.name: p.macs_before - p.macs_after for p in planned.plan.trained}
    whole = macs(planned.task.teacher.network, (1, 8, 8))
    assert whole / (whole - sum(saved[name] for name in planned.expected)) >= 4
    assert planned.notes == ()


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ("target.macs=0.01", "No student of these candidates keeps target.macs=0.01: the nearest"
         " has 0.1"),
        ("target.parameters=0.01", "keeps target.parameters=0.01: the nearest has 0.1"),
        ("target.bytes=100", r"keeps target.bytes=100: the nearest has \d{3},\d{3} bytes"),
        ("target.speedup=1000", r"keeps target.speedup=1000: the nearest is \d.\d\d times as fast"),
        ("target.latency_ms=0.0001", r"the nearest takes \d+.\d\d ms for a batch of 64"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_had_is_told_before_training(
    registry: Registry, wish: str, told: str
) -> None:
    planned = plan_run(load_config([*QUICK, wish]), registry)
    assert len(planned.notes) == 1
    assert re.search(told, planned.notes[0])
    assert planned.expected


def test_of_two_wishes_the_one_that_cannot_be_had_is_told(registry: Registry) -> None:
    wishes = "target.macs=0.01", "target.speedup=0.1"
    planned = plan_run(load_config([*QUICK, *wishes]), registry)
    assert len(planned.notes) == 1
    assert "target.macs=0.01" in planned.notes[0]


def test_candidates_need_a_limit(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="'candidates' needs a limit to choose by: set target.sp"):
        plan_run(load_config([*QUICK, RANKS]), registry)


def test_a_student_that_loses_little_enough_is_not_fine_tuned(tmp_path: Path) -> None:
    result = compressed(tmp_path, "target.max_drop=99", "finetune.epochs=9")
    assert result.accuracies["fine-tuned"] is None
    assert any("needs no fine-tuning: it lost " in note for note in result.notes)
    assert [(wish.key, wish.is_met) for wish in result.wishes] == [("target.max_drop", True)]
    assert result.change is not None
    assert result.wishes[0].reached == -100 * result.change.difference


def tuned(tmp_path: Path, *changes: str) -> tuple[RunResult, str]:
    """Compress without a student-fed phase; return also how fine-tuning ended."""
    result = compressed(tmp_path, "distill.student_fed_epochs=0", "batch_size=16", *changes)
    (note,) = (note for note in result.notes if "Fine-tuning took" in note)
    return result, note


def test_fine_tuning_stops_after_the_round_that_is_enough(tmp_path: Path) -> None:
    tuning = "finetune.epochs=5", "finetune.lr=0.003", "target.max_drop=40"
    result, ended = tuned(tmp_path, "builder={name: low-rank, share: 0.15}", *tuning)
    found = re.search(r"It stopped after 1 of 5 epochs: the student lost (\S+) points ", ended)
    assert found, ended
    assert float(found[1]) < 40
    assert result.wishes[0].is_met


def test_the_last_round_is_left_out_if_far_too_much_is_lost(tmp_path: Path) -> None:
    tuning = "finetune.epochs=8", "finetune.lr=0.0003", "target.max_drop=0.1"
    result, ended = tuned(tmp_path, "builder={name: low-rank, share: 0.1}", *tuning)
    found = re.search(r"It stopped after 4 of 8 epochs: the student lost (\S+) points ", ended)
    assert found, ended
    assert float(found[1]) > 0.2
    assert not result.wishes[0].is_met


@pytest.mark.parametrize("known", [False, True])
def test_where_the_teacher_knows_the_validation_images_an_equal_score_keeps_fine_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    for module in ("drop", "finish"):
        monkeypatch.setattr(f"pbkd.pipeline.{module}.knows_validation", lambda _: known)
    tuning = "finetune.epochs=1", "finetune.lr=1e-9", "target.max_drop=0.1"
    low_rank = "builder={name: low-rank, share: 0.1}"
    result = compressed(tmp_path, low_rank, *tuning)
    told = " ".join(result.notes)
    assert ("it was probably trained on them" in told) == known
    assert ("No epoch was better" in told) != known
    assert result.accuracies["fine-tuned"] is not None


def test_candidates_that_were_rejected_leave_the_cheapest_with_a_note(tmp_path: Path) -> None:
    result = compressed(tmp_path, "target.macs=0.13", "target.block_drop=1")
    assert any("cannot keep the target's limits" in note for note in result.notes)
    assert any("alone it loses" in (block.reason or "") for block in result.blocks)
    assert result.student.macs / result.teacher.macs > 0.13
    (wish,) = result.wishes
    assert (wish.key, wish.wanted, wish.is_met) == ("target.macs", 0.13, False)
    assert wish.reached == result.student.macs / result.teacher.macs
    assert wish.sentence in card(result)


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
    names = planned.expected
    assert len(names) == len({p.block.name for p in planned.plan.trained})
    config = load_config([*words, "target.selector.name=mine", "target.selector.fails=true"])
    with pytest.raises(PluginError, match="the selector 'mine' of the plugin 'my_choice.py' sele"):
        plan_run(config, registry)
    config = load_config([*words, "target.selector=mnie"])
    with pytest.raises(UnknownNameError, match="unknown selector 'mnie'. Did you mean 'mine'"):
        plan_run(config, registry)
