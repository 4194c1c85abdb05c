"""Runs with optimisers, schedules and losses of plugins, and what is refused before training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch

from pbkd.config.load import load_config
from pbkd.config.yaml_files import read_yaml
from pbkd.errors import ConfigError, IdentityError, PbkdError, PluginError, UnknownNameError
from pbkd.models.weights import read_weights
from pbkd.pipeline.plan import plan_run
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.runs.identity import check_choices

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry

PLUGIN = '''
from dataclasses import dataclass

import torch
from pbkd import hookimpl


class Signs(torch.optim.Optimizer):
    """Steps of one size along the sign of a running mean."""

    def __init__(self, parameters, lr, beta):
        super().__init__(parameters, {"lr": lr, "beta": beta})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                mean = state.setdefault("mean", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group["beta"])
                parameter.add_(mean.sign(), alpha=-group["lr"])


@dataclass(frozen=True)
class SignsBuilder:
    name = "signs"
    beta: float = 0.9

    def build(self, parameters, lr, weight_decay):
        return Signs(parameters, lr, self.beta)


@dataclass(frozen=True)
class Halves:
    name = "halves"

    def factor(self, step, steps):
        return 1.0 if 2 * step < steps else 0.1


@hookimpl
def register_optimisers():
    return [SignsBuilder]


@hookimpl
def register_lr_schedules():
    return [Halves]
'''
SHORT = [
    "keep=[stem*, head*, conv1*, conv2*, conv3_1]",
    "distill.epochs=1", "distill.student_fed_epochs=0", "finetune.epochs=1",
    "threads=1", "meters=[]",
]  # fmt: skip


def train(tmp_path: Path, *overrides: str) -> Path:
    """Run with the plugin, and return the folder."""
    plugin = tmp_path / "signs.py"
    plugin.write_text(PLUGIN)
    registry = build_registry([str(plugin)])
    torch.set_num_threads(1)
    config = load_config(
        [*SHORT, f"out={tmp_path / 'runs'}", *overrides],
        plugins=registry.provided([str(plugin)]),
    )
    return Path(run(config, registry).folder)


def test_a_plugins_optimiser_and_schedule_train_blocks_and_student(tmp_path: Path) -> None:
    folder = train(tmp_path, "distill.optimiser.beta=5e-1", "finetune.loss=mse", "distill.lr=1e-4")
    config = read_yaml(folder / "config.yaml")
    assert config["distill"]["optimiser"] == {"name": "signs", "beta": 0.5}
    assert config["distill"]["schedule"] == config["finetune"]["schedule"] == {"name": "halves"}
    assert config["finetune"]["optimiser"] == {"name": "signs"}
    assert config["finetune"]["loss"] == {"name": "mse"}
    before = read_weights(folder / "initial" / "conv3_2.safetensors")
    after = read_weights(folder / "teacher-fed" / "conv3_2.safetensors")
    moved = [(after[name] - before[name]).abs().max().item() for name in before if "weight" in name]
    # 16 steps, the later half of a tenth of the size.
    assert max(moved) == pytest.approx(8 * 1e-4 + 8 * 1e-5, rel=0.05)


@pytest.mark.slow
def test_a_plugins_optimiser_trains_in_every_worker_as_in_one(tmp_path: Path) -> None:
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
    one, two = (
        train(tmp_path / str(workers), "keep=[stem*, head*, conv1*]", f"workers={workers}")
        for workers in (1, 2)
    )
    for path in sorted((one / "teacher-fed").glob("*.safetensors")):
        alone, shared = read_weights(path), read_weights(two / "teacher-fed" / path.name)
        assert all(torch.equal(alone[name], shared[name]) for name in alone), path.name


@pytest.mark.parametrize(
    "override",
    ["distill.optimiser.eps=1e-7", "distill.optimiser=sgd", "distill.schedule=linear",
     "distill.schedule.warmup=0.1", "finetune.optimiser.betas=[0.8, 0.9]", "finetune.loss=mse",
     "finetune.loss.temperature=2"],
)  # fmt: skip
def test_a_run_is_not_resumed_with_another_training(finished: Path, override: str) -> None:
    changed = load_config([override], file=finished / "config.yaml")
    with pytest.raises(IdentityError, match="begun with what gives another result") as caught:
        check_choices(finished, changed)
    assert override.partition("=")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "kind", "told"),
    [
        (["distill.optimiser=agd"], UnknownNameError, "unknown optimiser 'agd'. Did you mean "),
        (["finetune.optimiser=null"], UnknownNameError, "unknown optimiser 'null'."),
        (["finetune.schedule=cosin"], UnknownNameError, "unknown lr-schedule 'cosin'. Did you "),
        (["finetune.loss=sof-target"], UnknownNameError, "unknown loss 'sof-target'. Did you mean"),
        (["distill.optimiser=sgd", "distill.optimiser.betas=[0.1, 0.2]"], ConfigError,
         "unknown option 'distill.optimiser.betas'."),
        (["distill.optimiser=sgd", "distill.optimiser.momentm=0.1"], ConfigError,
         "unknown option 'distill.optimiser.momentm'. Did you mean 'momentum'?"),
        (["finetune.optimiser.betas=0.9"], ConfigError, "'finetune.optimiser.betas': "),
        (["finetune.schedule.warmup=short"], ConfigError, "'finetune.schedule.warmup': Value 'sh"),
        (["finetune.schedule.warmup=2"], ConfigError, "warmup is 2.0, but must be a share"),
        (["distill.loss.temperature=2"], ConfigError, "unknown option 'distill.loss.temperature'"),
        (["finetune.loss.temprature=2"], ConfigError,
         "unknown option 'finetune.loss.temprature'. Did you mean 'temperature'?"),
        (["finetune.loss.temperature=null"], ConfigError, "'finetune.loss.temperature': "),
        (["distill.optimiser.betas=[2, 0.9]"], PluginError, "the optimiser 'adamw' of the plugin"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_before_anything_is_trained(
    registry: Registry, overrides: list[str], kind: type[PbkdError], told: str
) -> None:
    with pytest.raises(kind) as caught:
        plan_run(load_config(overrides), registry)
    assert str(caught.value).startswith(told)


class NeedsLabels:
    name: ClassVar[str] = "needs-labels"

    def error(self, output: Any, target: Any, context: Any) -> Any:  # noqa: ARG002
        return torch.nn.functional.cross_entropy(output, context.labels)


class Feature(NeedsLabels):
    name: ClassVar[str] = "feature"
    features = ("no.such.module",)


@pytest.mark.parametrize(
    ("loss", "labelled", "told"),
    [
        (NeedsLabels, False, "failed in error (TypeError: "),
        (Feature, True, "has no module 'no.such.module'"),
    ],
)
def test_a_loss_that_cannot_fine_tune_is_told_before_anything_is_trained(
    digits: Any, loss: type[NeedsLabels], labelled: bool, told: str
) -> None:
    from dataclasses import replace

    from pbkd.training.finetune_loss import check_finetune_loss

    task = digits if labelled else replace(digits, data=_unlabelled(digits.data))
    with pytest.raises(PluginError, match=f"finetune.loss={loss.name} cannot be used: ") as caught:
        check_finetune_loss(loss(), task)
    assert told in str(caught.value)


def _unlabelled(data: Any) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(train=data.train, labelled=False)
