from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import pbkd
from pbkd.core.files import write_json
from pbkd.errors import RunFolderError, UnknownNameError, WeightsError
from pbkd.models.chain import describe_blocks
from pbkd.models.replacement import build_replacement
from pbkd.models.student import assemble
from pbkd.models.student_files import Recipe, write_student
from pbkd.models.weights import read_weights
from pbkd.pipeline.solo_scores import solo_scores
from pbkd.training.recalibration import recalibrate

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask


NAMES = ["conv1_2", "conv2_1", "conv3_2"]


def _replacements(digits: DistillationTask, registry: Registry, rank: int) -> dict[str, nn.Module]:
    builder = registry.create("builder", {"name": "separable", "rank": rank})
    built = {
        block.name: build_replacement(builder, digits.chain[block.position], block, 0)
        for block in describe_blocks(digits.chain, digits.images[:1], NAMES)
    }
    return {name: answer.module for name, answer in built.items() if answer is not None}


def _score(digits: DistillationTask, network: nn.Module) -> float:
    return digits.score(network, digits.data.validation)


@torch.no_grad()
def _divergence(digits: DistillationTask, network: nn.Module) -> float:
    split = digits.data.validation
    x = digits.normalize(split.images(torch.arange(len(split))))
    logs = [net(x).double().log_softmax(1) for net in (digits.fused, network)]
    return float((logs[0].exp() * (logs[0] - logs[1])).sum(1).mean())


def test_exact_replacements_lose_nothing_alone(
    digits: DistillationTask, registry: Registry
) -> None:
    scores = solo_scores(digits, _replacements(digits, registry, 9), digits.data.validation)
    assert {name: score.drop for name, score in scores.items()} == dict.fromkeys(NAMES, 0.0)
    assert all(abs(score.divergence) < 1e-5 for score in scores.values())


def test_a_solo_drop_is_that_of_the_teacher_with_one_block_swapped(
    digits: DistillationTask, registry: Registry
) -> None:
    replacements = _replacements(digits, registry, 1)
    scores = solo_scores(digits, replacements, digits.data.validation)
    for name, replacement in replacements.items():
        swapped = copy.deepcopy(digits.fused)
        setattr(swapped, name, copy.deepcopy(replacement))
        lost = _score(digits, digits.fused) - _score(digits, swapped)
        assert scores[name].drop == pytest.approx(lost, abs=1e-9)
        assert scores[name].divergence == pytest.approx(_divergence(digits, swapped), rel=1e-3)
    assert max(score.drop for score in scores.values()) > 0.1


def test_candidates_of_one_block_are_scored_each_alone(
    digits: DistillationTask, registry: Registry
) -> None:
    one, two = (_replacements(digits, registry, rank) for rank in (1, 3))
    together = solo_scores(digits, {**one, "conv2_1.1": two["conv2_1"]}, digits.data.validation)
    alone = solo_scores(digits, {"conv2_1": two["conv2_1"]}, digits.data.validation)
    assert together["conv2_1.1"] == alone["conv2_1"]
    assert together["conv2_1.1"].divergence < together["conv2_1"].divergence


def test_assembly_copies(digits: DistillationTask, registry: Registry) -> None:
    replacements = _replacements(digits, registry, 1)
    student = assemble(digits.chain, replacements)
    assert [n for n, _ in student.named_children()] == [n for n, _ in digits.chain.named_children()]
    for parameter in student.parameters():
        parameter.data.zero_()
    assert all(
        p.abs().sum() > 0 for r in replacements.values() for p in r.parameters() if p.ndim > 1
    )
    assert _score(digits, digits.teacher.network) > 0.9


def test_recalibration_is_the_mean_over_the_batches(digits: DistillationTask) -> None:
    student = assemble(digits.chain, {})
    norm = next(m for m in student.modules() if isinstance(m, nn.BatchNorm2d))
    momentum = norm.momentum
    inputs: list[torch.Tensor] = []
    norm.register_forward_hook(lambda _m, args, _out: inputs.append(args[0]))
    recalibrate(student, digits, count=20, batch_size=64)
    assert len(inputs) == 20
    means = torch.stack([x.mean((0, 2, 3)) for x in inputs]).mean(0)
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, means, rtol=1e-4, atol=1e-5)
    assert norm.momentum == momentum
    assert not any(m.training for m in student.modules())


def read_config(run: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file of a student's recipe, and what it holds, to be changed."""
    path = run / "student" / "config.json"
    return path, json.loads(path.read_text())


def saved_student(digits: DistillationTask, registry: Registry, folder: Path) -> nn.Module:
    student = assemble(digits.chain, _replacements(digits, registry, 2))
    builder = {"name": "separable", "rank": 2}
    recipe = Recipe(
        teacher={"name": "digits-vgg"},
        partitioner=dict(digits.partitioner),
        replaced=dict.fromkeys(NAMES, builder),
        preparation=digits.preparation,
        class_names=digits.data.class_names,
    )
    write_student(folder / "student", student, recipe, [])
    return student


def test_loading_needs_no_teachers_weights(
    digits: DistillationTask, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = saved_student(digits, registry, tmp_path)
    read: list[str] = []

    def spy(path: Path) -> dict[str, torch.Tensor]:
        read.append(path.name)
        return read_weights(path)

    monkeypatch.setattr("pbkd.models.student_loading.read_weights", spy)
    monkeypatch.setattr("pbkd.models.teacher.read_tensors", spy)
    loaded = pbkd.load(tmp_path)
    assert read == ["model.safetensors"]
    pairs = zip(loaded.state_dict().values(), student.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_loading_leaves_the_callers_random_numbers_alone(
    digits: DistillationTask, registry: Registry, tmp_path: Path
) -> None:
    saved_student(digits, registry, tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    pbkd.load(tmp_path)
    assert torch.equal(torch.rand(4), expected)


def test_a_folder_without_a_student(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is this a finished run's folder"):
        pbkd.load(tmp_path)


def test_a_recipe_resolves_names_through_the_registry_only(
    digits: DistillationTask, registry: Registry, tmp_path: Path
) -> None:
    saved_student(digits, registry, tmp_path)
    path, recipe = read_config(tmp_path)
    recipe["plugins"] = [str(tmp_path / "evil.py")]
    (tmp_path / "evil.py").write_text("raise AssertionError('a recipe ran code')")
    write_json(path, recipe)
    pbkd.load(tmp_path)
    recipe["replaced"]["conv1_2"] = {"name": "os.system"}
    write_json(path, recipe)
    with pytest.raises(UnknownNameError, match="unknown builder 'os.system'"):
        pbkd.load(tmp_path)


@pytest.mark.parametrize("key", ["teacher", "partitioner", "replaced"])
def test_a_recipe_that_names_weights_is_refused(
    digits: DistillationTask, registry: Registry, tmp_path: Path, key: str
) -> None:
    saved_student(digits, registry, tmp_path)
    path, recipe = read_config(tmp_path)
    choice = recipe["replaced"]["conv2_1"] if key == "replaced" else recipe[key]
    choice["weights"] = str(tmp_path / "student" / "model.safetensors")
    write_json(path, recipe)
    with pytest.raises(RunFolderError, match="names a file of weights, which no"):
        pbkd.load(tmp_path)


def test_a_recipe_of_another_format(
    digits: DistillationTask, registry: Registry, tmp_path: Path
) -> None:
    saved_student(digits, registry, tmp_path)
    write_json(tmp_path / "student" / "config.json", {"format": 99})
    with pytest.raises(RunFolderError, match="not a recipe of this version"):
        pbkd.load(tmp_path)


def test_weights_of_another_student(
    digits: DistillationTask, registry: Registry, tmp_path: Path
) -> None:
    saved_student(digits, registry, tmp_path)
    path, recipe = read_config(tmp_path)
    recipe["replaced"]["conv1_2"]["rank"] = 3
    write_json(path, recipe)
    with pytest.raises(WeightsError, match="depthwise"):
        pbkd.load(tmp_path)
