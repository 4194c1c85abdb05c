"""`train_baselines`, beside a finished run."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pbkd_sgd import SgdBuilder
from pbkd_soft_target import SoftTarget

from pbkd.config.load import load_config
from pbkd.core.files import read_json, write_json
from pbkd.errors import ConfigError, IdentityError, RunFolderError, UnknownNameError
from pbkd.models.teacher import load_teacher
from pbkd.models.weights import read_weights, write_weights
from pbkd.pipeline.baselines import train
from pbkd.pipeline.baselines.settings import BaselineEpoch, BaselineSettings
from pbkd.pipeline.baselines.students import random_student
from pbkd.pipeline.baselines.train import train_baselines
from pbkd.plugin.registry import Registry
from pbkd.runs.checksums import check_files, write_checksums
from pbkd.runs.finished import read_finished
from tests.integration.pipeline.baselines.conftest import Trainings
from tests.optimisations import optimisation
from tests.run_folders import change


def test_a_rival_is_trained_scored_and_measured_beside_the_student(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "_PASSES", 1)
    told: list[BaselineEpoch] = []
    settings = BaselineSettings(seconds=0.01, lr=0.002, command="pbkd baseline a")
    known = train_baselines(folder, settings, told.append)
    (row,) = known.values()
    run = read_finished(folder)
    student = run.result.student
    assert student.accuracy is not None
    assert (row.method, row.equal, row.macs) == ("same-start", "macs", student.macs)
    (training,) = row.trainings
    assert (training.epochs, training.steps, training.lr) == (1, 1077 // 64, 0.002)
    assert training.cpu_seconds > 0 < training.seconds
    assert training.change.images == 360
    assert row.difference == pytest.approx(student.accuracy - row.score)
    assert row.difference == training.change.difference
    assert row.interval == pytest.approx(training.change.interval)
    assert [latency.batch for latency in row.latencies] == [1, 64]
    assert [latency.batch for latency in row.student_latencies] == [1, 64]
    assert [tuple(line)[:5] for line in told] == [("same-start", 0.002, 0, 1, 1)]
    assert training.validation == told[0].score
    assert (row.command, row.max_cpu_seconds, row.threads) == ("pbkd baseline a", 0.01, 1)
    assert row.notes[0].startswith("The 0.01 CPU seconds allowed are less than an epoch takes (")
    (written,) = read_json(folder / "baselines.json")["baselines"]
    assert written.keys() == asdict(row).keys()
    assert run.baselines == known == {"same-start": row}
    check_files(folder, ["README.md"])
    assert "## Rivals at the same cost" in (folder / "README.md").read_text()


def test_a_rival_that_explodes_goes_on_at_a_lower_rate(folder: Path) -> None:
    told: list[BaselineEpoch] = []
    settings = BaselineSettings(seconds=0.01, lr=0.05)
    (row,) = train_baselines(folder, settings, told.append).values()
    (training,) = row.trainings
    assert (len(told), training.steps, training.lr) == (1, 1077 // 64, 0.05)
    assert any("learning rate 0.05: Epoch 1 exploded" in n for n in row.notes)


def test_few_images_try_lower_rates_too() -> None:
    assert BaselineSettings().rates_for(999) == pytest.approx((0.0001, 0.0003, 0.001, 0.003))
    assert BaselineSettings().rates_for(1000) == (0.001, 0.003)
    assert BaselineSettings(lr=0.1).rates_for(10) == (0.1,)


def test_each_method_starts_from_its_network_and_learns_from_its_targets(
    folder: Path, untrained: Trainings
) -> None:
    train_baselines(
        folder,
        BaselineSettings(methods=["same-start", "distillation", "scratch"], seconds=7, lr=0.01),
    )
    (_, teacher), (settings, soft), (_, none) = untrained.calls
    assert none is None
    for network in (teacher, soft):
        assert network is not None
        assert sum(p.numel() for p in network.parameters()) > 250_000
    assert settings.epochs == 4  # of 2 CPU seconds, in 7
    assert settings.loss is not None
    assert settings.loss.loss == SoftTarget()
    started, distilled, scratch = (network.state_dict() for network in untrained.starts)
    initial = read_weights(folder / "initial" / "conv3_2.safetensors")
    for name, tensor in initial.items():
        assert torch.equal(started[f"conv3_2.{name}"], tensor)
    trained = read_weights(folder / "student" / "model.safetensors")
    kernels = [name for name, tensor in trained.items() if tensor.ndim == 4]
    assert not any(torch.equal(trained[name], distilled[name]) for name in kernels)
    assert all(torch.equal(distilled[name], scratch[name]) for name in trained)


def test_the_best_rate_is_trained_with_the_other_seeds(folder: Path, untrained: Trainings) -> None:
    untrained.validation = {0.001: 0.5, 0.003: 0.75}
    settings = BaselineSettings(methods=["scratch"], seconds=4, seeds=3)
    (row,) = train_baselines(folder, settings).values()
    assert [(t.lr, t.seed) for t in row.trainings] == [
        (0.001, 0), (0.003, 0), (0.003, 1), (0.003, 2),
    ]  # fmt: skip
    assert [settings.optimisation for settings, _ in untrained.calls][:2] == [
        optimisation(0.001, 0.05),
        optimisation(0.003, 0.05),
    ]
    assert (row.lr, row.validation, len(row.best)) == (0.003, 0.75, 3)
    scores = [training.score for training in row.best]
    assert row.score == pytest.approx(sum(scores) / 3)
    assert row.spread == (min(scores), max(scores))
    differences = [training.change.difference for training in row.best]
    assert row.difference == pytest.approx(sum(differences) / 3)
    assert row.interval[0] < row.difference < row.interval[1]
    one, other = (network.state_dict() for network in untrained.starts[1:3])
    assert not any(torch.equal(one[n], other[n]) for n in one if one[n].ndim == 4)


def test_trainings_that_ended_are_kept_when_it_is_stopped(
    folder: Path, untrained: Trainings
) -> None:
    def stop(done: BaselineEpoch) -> None:
        if done.lr == 0.003:
            raise KeyboardInterrupt

    untrained.validation = {0.001: 0.5}
    with pytest.raises(KeyboardInterrupt):
        train_baselines(folder, BaselineSettings(seconds=2), stop)
    (row,) = read_finished(folder).baselines.values()
    assert [training.lr for training in row.trainings] == [0.001]
    again = train_baselines(folder, BaselineSettings(seconds=2, optimiser="sgd"))["same-start"]
    assert [training.lr for training in again.trainings] == [0.01, 0.1]
    assert untrained.calls[-1][0].optimisation == optimisation(0.1, 0.0005, SgdBuilder())


def test_it_gets_the_cpu_seconds_of_the_runs_training(folder: Path, untrained: Trainings) -> None:
    tree = read_json(folder / "result.json")
    for phase in tree["phases"]:
        phase["cpu_seconds"] = 5.6 if phase["name"] == "teacher-fed" else 0.0
        if phase["name"] in ("planning", "evaluation"):
            phase["cpu_seconds"] = 1000.0
    write_json(folder / "result.json", tree)
    (row,) = train_baselines(folder, BaselineSettings(lr=0.1)).values()
    assert (row.max_seconds, row.max_cpu_seconds, row.epochs) == (None, 5.6, 3)
    assert (row.notes, untrained.calls[0][0].epochs) == ((), 3)


def test_the_teachers_file_may_have_moved(
    folder: Path, tmp_path: Path, registry: Registry, untrained: Trainings
) -> None:
    change(folder / "config.yaml", "name: digits-vgg", "name: digits-vgg\n  weights: gone.pt")
    write_checksums(folder, {})
    with pytest.raises(Exception, match=r"no file of weights 'gone\.pt'"):
        train_baselines(folder, BaselineSettings(seconds=1))
    state = load_teacher(registry, {"name": "digits-vgg"}).network.state_dict()
    write_weights(tmp_path / "moved.safetensors", state)
    moved = [f"teacher.weights={tmp_path / 'moved.safetensors'}"]
    assert train_baselines(folder, BaselineSettings(overrides=moved, lr=0.1))
    assert len(untrained.calls) == 1
    name = next(iter(state))
    write_weights(tmp_path / "moved.safetensors", {**state, name: state[name] + 1})
    with pytest.raises(IdentityError, match=r"begun with what gives another.*teacher\.weights was"):
        train_baselines(folder, BaselineSettings(overrides=moved, lr=0.1))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"methods": ["destillation"]}, "unknown method 'destillation'. Did you mean 'distill"),
        ({"equal": "seconds"}, "unknown cost for --equal 'seconds'. Did you mean 'milliseconds'?"),
        ({"seconds": 0.0}, "--seconds is 0.0, but must be above 0 and finite."),
        ({"seconds": float("inf")}, "--seconds is inf, but must be above 0 and finite."),
        ({"lr": float("nan")}, "--lr is nan, but must be above 0 and finite."),
        ({"seeds": 0}, "--seeds is 0, but must be 1 or more."),
        ({"optimiser": "adam"}, "unknown optimiser 'adam'. Did you mean 'adamw'?"),
        ({"overrides": ["seed=3"]}, "'seed' cannot be changed: a baseline has the configuration"),
        ({"overrides": ["teacher=vgg16"]}, "'teacher' cannot be changed"),
        ({"overrides": ["ready=vgg16"]}, "ready=NAME names the network of a method: add --against"),
        ({"methods": ["ready"], "overrides": ["ready.weights=a"]}, "ready.OPTION=VALUE is an opti"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_trained(
    finished: Path, untrained: Trainings, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises((ConfigError, UnknownNameError)) as error:
        train_baselines(finished, BaselineSettings(**arguments))
    assert str(error.value).startswith(told)
    assert not untrained.calls
    assert not (finished / "baselines.json").exists()


def test_an_optimiser_without_rates_needs_one() -> None:
    with pytest.raises(ConfigError, match="'lion' has no default learning rates here: give --lr"):
        _ = BaselineSettings(optimiser="lion").rates
    assert BaselineSettings(optimiser="lion", lr=0.5).rates == (0.5,)


def test_what_cannot_be_compared_is_said(folder: Path) -> None:
    result = read_json(folder / "result.json")
    write_json(folder / "result.json", {**result, "resumed": 1})
    with pytest.raises(ConfigError, match="was resumed.*give --seconds"):
        train_baselines(folder)
    kept = [{**block, "replaced": False} for block in result["blocks"]]
    write_json(folder / "result.json", {**result, "blocks": kept})
    with pytest.raises(ConfigError, match="is its teacher: none was trained"):
        train_baselines(folder)
    write_json(folder / "result.json", {**result, "student": {**result["student"], "macs": 5}})
    with pytest.raises(RunFolderError, match=r"has [\d,]+ MACs, but result\.json says 5"):
        train_baselines(folder, BaselineSettings(lr=0.1))
    change(folder / "config.yaml", "name: digits-vgg", "name: memory:Net")
    with pytest.raises(RunFolderError, match="is not as the run wrote it"):
        train_baselines(folder)
    write_json(folder / "result.json", result)
    write_checksums(folder, {})
    with pytest.raises(ConfigError, match="compressed a network of a Python program"):
        train_baselines(folder)
    (folder / "README.md").unlink()
    with pytest.raises(RunFolderError, match="holds no finished run"):
        train_baselines(folder)


def test_a_start_that_was_damaged_is_refused(folder: Path) -> None:
    path = folder / "initial" / "conv3_2.safetensors"
    write_weights(path, {n: t + 1 for n, t in read_weights(path).items()})
    with pytest.raises(RunFolderError, match=r"conv3_2\.safetensors' is not as the run wrote it"):
        train_baselines(folder)
    path.unlink()
    with pytest.raises(RunFolderError, match="is missing: the run's start cannot be built"):
        train_baselines(folder)


def test_random_weights_depend_on_the_seed_alone(folder: Path) -> None:
    config = load_config(file=folder / "config.yaml")
    first = random_student(folder, config, 0).state_dict()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    (folder / "student" / "model.safetensors").unlink()
    again = random_student(folder, replace(config, seed=5), 0).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name, tensor in first.items():
        if name.endswith("running_mean"):
            assert not tensor.any()


def test_it_has_the_threads_of_all_the_runs_workers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pbkd.pipeline.baselines.context import _threads

    plan = read_json(folder / "plan.json")
    workers = [{**plan["workers"][0], "rank": rank, "threads": 3} for rank in range(2)]
    assigned = [*plan["assigned"], []] if "assigned" in plan else None
    assert assigned is not None, plan
    write_json(folder / "plan.json", {**plan, "workers": workers, "assigned": assigned})
    for cores, wanted in ((8, 6), (4, 4)):
        monkeypatch.setattr("pbkd.execution.workers._core_count", lambda cores=cores: cores)
        assert _threads(folder, "cpu") == wanted
