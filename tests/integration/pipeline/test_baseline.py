from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pbkd_sgd import SgdBuilder
from pbkd_soft_target import SoftTarget

from pbkd.config.load import load_config
from pbkd.core.files import read_json, write_json
from pbkd.data.normalization import Normalization
from pbkd.errors import ConfigError, IdentityError, RunFolderError, UnknownNameError
from pbkd.models.accuracy import accuracy
from pbkd.models.metrics import macs, parameters
from pbkd.models.teacher import load_teacher
from pbkd.models.weights import read_weights, write_weights
from pbkd.pipeline import baseline
from pbkd.pipeline.baseline import BaselineSettings, train_baselines
from pbkd.pipeline.random_student import random_student
from pbkd.pipeline.run import run
from pbkd.plugin.registry import Registry, build_registry
from pbkd.runs.checksums import write_checksums
from pbkd.runs.finished import read_finished
from pbkd.training.finetune import TrainingSettings
from tests.optimisations import optimisation
from tests.run_folders import change

SETTINGS = TrainingSettings(epochs=1, optimisation=optimisation(0.003, 0.05), batch_size=64, seed=0)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """A short run, whose teacher's weights are in a file beside it."""
    folder = tmp_path_factory.mktemp("original")
    teacher = load_teacher(registry, {"name": "digits-vgg"})
    write_weights(folder / "teacher.safetensors", teacher.network.state_dict())
    overrides = [
        f"out={folder / 'runs'}",
        f"teacher.weights={folder / 'teacher.safetensors'}",
        "threads=1",
        "distill.epochs=1",
        "distill.student_fed_epochs=0",
        "finetune.epochs=0",
        "meters=[]",
    ]
    torch.set_num_threads(1)
    return Path(run(load_config(overrides), build_registry()).folder)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of it, to write to."""
    return Path(shutil.copytree(original, tmp_path / "run"))


@pytest.fixture
def _epoch_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "seconds_per_epoch", lambda *_: 1.0)


def test_it_is_the_runs_student_without_a_weight_of_it(original: Path) -> None:
    config = load_config(file=original / "config.yaml")
    student = random_student(original, config)
    found = read_finished(original).result.student
    assert parameters(student) == found.parameters
    assert macs(student, (1, 8, 8)) == found.macs
    trained = read_weights(original / "student" / "model.safetensors")
    state = student.state_dict()
    assert {name: t.shape for name, t in state.items()} == {n: t.shape for n, t in trained.items()}
    kernels = [name for name, tensor in state.items() if tensor.ndim == 4]
    assert len(kernels) > 6
    assert not any(torch.equal(state[name], trained[name]) for name in kernels)
    for name, tensor in state.items():
        if name.endswith("running_mean"):
            assert not tensor.any()


def test_the_first_weights_depend_on_the_seed_alone(folder: Path) -> None:
    config = load_config(file=folder / "config.yaml")
    first = random_student(folder, config).state_dict()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    (folder / "student" / "model.safetensors").unlink()
    again = random_student(folder, replace(config, teacher={"name": "digits-vgg"})).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = random_student(folder, replace(config, seed=1)).state_dict()
    assert not any(torch.equal(first[n], other[n]) for n in first if first[n].ndim == 4)


@pytest.mark.usefixtures("_epoch_of_a_second")
def test_the_same_seed_gives_the_same_baseline(original: Path, tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        shutil.copytree(original, tmp_path / name)
        known = train_baselines(
            tmp_path / name, BaselineSettings(seconds=2, command="pbkd baseline a")
        )
        found.append({method: replace(row, seconds=0) for method, row in known.items()})
    assert found[0] == found[1]
    scratch, distillation = found[0]["scratch"], found[0]["distillation"]
    assert (scratch.epochs, scratch.max_seconds, scratch.note) == (2, 2, None)
    assert (scratch.lr, scratch.weight_decay, scratch.seed) == (0.003, 0.05, 0)
    assert scratch.command == "pbkd baseline a"
    assert replace(scratch, method="distillation") != distillation


@pytest.mark.usefixtures("_epoch_of_a_second")
def test_a_method_learns_what_it_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = []

    def spy(
        network: torch.nn.Module,
        data: Any,
        normalization: Normalization,
        settings: TrainingSettings,
        **options: Any,
    ) -> float:
        calls.append((settings, options))
        return accuracy(network, data.validation, normalization, device="cpu")

    monkeypatch.setattr(baseline, "train_network", spy)
    change(folder / "config.yaml", "name: soft-target", "name: soft-target\n    temperature: 2.0")
    with pytest.raises(RunFolderError, match="is not as the run wrote it"):
        train_baselines(folder, BaselineSettings(seconds=7, lr=0.01))
    write_checksums(folder, {})
    train_baselines(folder, BaselineSettings(seconds=7, lr=0.01))
    train_baselines(folder, BaselineSettings(methods=["scratch"], seconds=7, optimiser="sgd"))
    (settings, scratch), (other, distillation), (third, _) = calls
    assert third.optimisation == optimisation(0.1, 0.0005, SgdBuilder())
    loss = settings.loss
    assert loss is not None
    assert loss.loss == SoftTarget(temperature=2.0)
    expected = replace(
        SETTINGS,
        epochs=7,
        optimisation=optimisation(0.01, 0.05),
        loss=loss,
    )
    assert settings == other == expected
    assert scratch["teacher"] is None
    teacher = distillation["teacher"]
    assert sum(p.numel() for p in teacher.parameters()) > 250_000


@pytest.mark.usefixtures("_epoch_of_a_second")
def test_it_gets_the_seconds_of_the_runs_training(folder: Path) -> None:
    tree = json.loads((folder / "result.json").read_text())
    for phase in tree["phases"]:
        phase["seconds"] = 1.6 if phase["name"] == "teacher-fed" else 0.0
        if phase["name"] in ("planning", "evaluation"):
            phase["seconds"] = 1000.0
    write_json(folder / "result.json", tree)
    told: list[baseline.BaselineEpoch] = []
    found = train_baselines(
        folder, BaselineSettings(methods=["scratch"]), epoch_finished=told.append
    )
    assert list(found) == ["scratch"]
    assert (found["scratch"].epochs, found["scratch"].max_seconds) == (2, 1.6)
    assert [line[:3] for line in told] == [("scratch", 1, 2), ("scratch", 2, 2)]
    assert 0 < found["scratch"].seconds < 60
    assert found["scratch"].validation_accuracy >= max(line[4] for line in told)


@pytest.mark.usefixtures("_epoch_of_a_second")
def test_less_than_an_epoch_is_said(folder: Path) -> None:
    found = train_baselines(folder, BaselineSettings(methods=["scratch"], seconds=0.25))["scratch"]
    assert found.epochs == 1
    assert found.note == (
        "The 0.25 seconds given are less than an epoch takes (1.00 seconds): one whole epoch was"
        " trained."
    )


@pytest.mark.usefixtures("_epoch_of_a_second")
def test_a_method_trained_again_takes_the_place_of_its_earlier_row(folder: Path) -> None:
    train_baselines(folder, BaselineSettings(seconds=1))
    known = train_baselines(folder, BaselineSettings(methods=["distillation"], seconds=2))
    assert [(row.method, row.epochs) for row in known.values()] == [
        ("scratch", 1),
        ("distillation", 2),
    ]
    written = read_json(folder / "baselines.json")["baselines"]
    assert written == [asdict(row) for row in known.values()]
    assert read_finished(folder).baselines == known


@pytest.mark.usefixtures("_epoch_of_a_second")
def test_the_teachers_file_may_have_moved(original: Path, folder: Path, tmp_path: Path) -> None:
    old = original.parent.parent / "teacher.safetensors"
    moved = tmp_path / "moved.safetensors"
    shutil.copy(old, moved)
    change(folder / "config.yaml", str(old), "gone.safetensors")
    write_checksums(folder, {})
    with pytest.raises(Exception, match=r"no file of weights 'gone\.safetensors'"):
        train_baselines(folder, BaselineSettings(seconds=1))
    overrides = [f"teacher.weights={moved}"]
    assert train_baselines(
        folder, BaselineSettings(methods=["scratch"], overrides=overrides, seconds=1)
    )


def test_another_teacher_is_refused(folder: Path, tmp_path: Path, registry: Registry) -> None:
    state = load_teacher(registry, {"name": "digits-vgg"}).network.state_dict()
    name = next(iter(state))
    write_weights(tmp_path / "other.safetensors", {**state, name: state[name] + 1})
    overrides = [f"teacher.weights={tmp_path / 'other.safetensors'}"]
    with pytest.raises(IdentityError, match=r"begun with what gives another.*teacher\.weights was"):
        train_baselines(folder, BaselineSettings(overrides=overrides, seconds=1))
    assert not (folder / "baselines.json").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"methods": ["destillation"]}, "unknown method 'destillation'. Did you mean 'distill"),
        ({"seconds": 0.0}, "--seconds is 0.0, but must be above 0 and finite."),
        ({"seconds": float("inf")}, "--seconds is inf, but must be above 0 and finite."),
        ({"lr": float("nan")}, "--lr is nan, but must be above 0 and finite."),
        ({"optimiser": "adam"}, "unknown optimiser 'adam'. Did you mean 'adamw'?"),
        ({"overrides": ["seed=3"]}, "'seed' cannot be changed: a baseline has the configuration"),
        ({"overrides": ["teacher=vgg16"]}, "'teacher' cannot be changed"),
        ({"overrides": ["data.crop=0"]}, "'data.crop' cannot be changed"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_trained(
    original: Path, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises((ConfigError, UnknownNameError)) as error:
        train_baselines(original, BaselineSettings(**arguments))
    assert str(error.value).startswith(told)
    assert not (original / "baselines.json").exists()


def test_what_a_resumed_run_took_is_not_known(folder: Path) -> None:
    result = read_json(folder / "result.json")
    write_json(folder / "result.json", {**result, "resumed": 1})
    with pytest.raises(ConfigError, match="was resumed.*give --seconds"):
        train_baselines(folder)


def test_an_unfinished_run_has_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no finished run"):
        train_baselines(tmp_path)


@pytest.mark.parametrize(
    ("workers", "threads", "wanted"), [(1, None, 8), (1, 2, 2), (2, 3, 6), (4, 4, 8)]
)
def test_it_has_the_threads_of_all_the_runs_workers(
    monkeypatch: pytest.MonkeyPatch, workers: int, threads: int | None, wanted: int
) -> None:
    monkeypatch.setattr("pbkd.execution.workers._core_count", lambda: 8)
    config = replace(load_config(), workers=workers, threads=threads)
    assert baseline._threads(config, "cpu") == wanted
