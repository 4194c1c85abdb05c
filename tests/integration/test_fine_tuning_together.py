"""Workers that fine-tune one student together, against one worker alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
import torch.distributed as dist
from pbkd_constant import Constant
from pbkd_crop_flip import CropFlip
from pbkd_local import LocalLauncher
from pbkd_mixing import Mixup
from pbkd_relational import Relational
from pbkd_sgd import SgdBuilder
from pbkd_soft_target import SoftTarget
from pbkd_squared_error import RelativeSquaredError
from pbkd_synthetic import SyntheticSource
from torch import Tensor, nn

from pbkd import Worker
from pbkd.data.augmentation import Augmentation
from pbkd.data.datasets import ArraySplit
from pbkd.data.normalization import Normalization
from pbkd.execution.process_group import process_group
from pbkd.models.weights import read_weights, write_weights
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.exchange import open_exchange
from pbkd.training.finetune import train_network
from pbkd.training.link import split_rows
from pbkd.training.replicas import ReplicaGroup
from pbkd.training.training_hooks import TrainingHooks
from pbkd.training.training_settings import TrainingSettings
from tests.optimisations import optimisation

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.data.datasets import Dataset
    from pbkd.protocols import Loss, LossContext

SPEEDS = (1.0, 2.0)


class Deviation:
    """Mean absolute deviation, whose gradients are multiples of a power of two."""

    name: ClassVar[str] = "deviation"

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs().sum(1).mean()


class Hidden:
    """Squared error of an inner activation, and of the logits."""

    name: ClassVar[str] = "hidden"
    features: ClassVar[tuple[str, ...]] = ("0",)

    def error(self, output: Tensor, target: Tensor, context: LossContext) -> Tensor:
        inner = context.features["0"] - context.teacher_features["0"]
        return inner.square().mean() + (output - target).square().mean()


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 4),
    )


def images(strategy: Any = None, *, labelled: bool = True) -> Dataset:
    data = SyntheticSource(classes=4, height=6, width=6, count=320).load()
    name = "none" if strategy is None else strategy.name
    augmentation = Augmentation({"name": name}, strategy=strategy, classes=4 if labelled else None)
    classes = data.num_classes if labelled else None
    return replace(data, augmentation=augmentation, num_classes=classes)


@dataclass(frozen=True)
class Case:
    loss: Loss
    augmentation: Any = None
    labelled: bool = True
    rate: float = 0.01


CASES = {
    "labels": Case(SoftTarget(), CropFlip(1)),
    "mixed labels": Case(SoftTarget(), Mixup()),
    "no labels": Case(SoftTarget(), CropFlip(1), labelled=False),
    "scale": Case(RelativeSquaredError(), rate=0.0002),
    "features": Case(Hidden()),
    "explosion": Case(SoftTarget(), rate=10.0),
    "whole batches": Case(Relational(), rate=0.0002),
}


def tuned(name: str, replicas: ReplicaGroup | None = None) -> dict[str, Tensor]:
    """Train by the settings of a case; return the last weights, losses and scores."""
    case, student, teacher = CASES[name], network(0), network(1).eval()
    epochs: list[tuple[float, float]] = []
    last: dict[str, Tensor] = {}
    lowered: list[str] = []

    def keep(_epoch: int, loss: float, score: float) -> None:
        epochs.append((loss, score))
        last.update({key: tensor.clone() for key, tensor in student.state_dict().items()})

    settings = TrainingSettings(
        epochs=2,
        optimisation=optimisation(case.rate, optimiser=SgdBuilder()),
        batch_size=36,
        seed=3,
        loss=AppliedLoss(case.loss, teacher=teacher),
        replicas=replicas,
    )
    data = images(case.augmentation, labelled=case.labelled)
    half = Normalization((0.5,) * 3, (0.5,) * 3)
    hooks = TrainingHooks(keep, rate_lowered=lowered.append)
    train_network(student, data, half, settings, teacher=teacher, hooks=hooks)
    assert bool(lowered) == (name == "explosion")
    return {**last, "epochs": torch.tensor(epochs, dtype=torch.float64)}


def exactly_tuned(replicas: ReplicaGroup | None = None) -> dict[str, Tensor]:
    """Train where all numbers are short multiples of powers of two, so that no sum is rounded."""
    torch.manual_seed(0)
    student, teacher = (nn.Sequential(nn.Flatten(), nn.Linear(12, 4)) for _ in range(2))
    for parameter in (*student.parameters(), *teacher.parameters()):
        parameter.data = torch.randint(-8, 8, parameter.shape) / 8
    data = SyntheticSource(classes=4, height=2, width=2, count=320).load()
    pixels = (data.train.images(torch.arange(len(data.train))) // 64).float()
    data = replace(data, train=ArraySplit(pixels, data.train.labels))
    plain = SgdBuilder(momentum=0, nesterov=False)
    settings = TrainingSettings(
        epochs=1,
        optimisation=optimisation(1 / 64, optimiser=plain, schedule=Constant()),
        batch_size=32,
        seed=0,
        loss=AppliedLoss(Deviation()),
        replicas=replicas,
    )
    train_network(student, data, Normalization.identity(3), settings, teacher=teacher)
    return dict(student.state_dict())


def _train(folder: Path, rank: int) -> None:
    with process_group(torch.device("cpu"), rank, 2, "test"):
        exchange = open_exchange(dist.group.WORLD, torch.device("cpu"))
        for name in CASES:
            rows = split_rows([0, 1], 36, SPEEDS)[rank]
            found = tuned(name, ReplicaGroup(exchange, rows, 36))
            write_weights(folder / f"{name} {rank}.safetensors", found)
        rows = split_rows([0, 1], 32)[rank]
        found = exactly_tuned(ReplicaGroup(exchange, rows, 32))
        write_weights(folder / f"exact {rank}.safetensors", found)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two workers of unequal speed have trained."""
    folder = tmp_path_factory.mktemp("together")
    LocalLauncher().launch(_train, folder, [Worker(0), Worker(1)])
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_workers_train_the_student_of_one(name: str, together: Path) -> None:
    alone = tuned(name)
    for rank in (0, 1):
        for key, tensor in read_weights(together / f"{name} {rank}.safetensors").items():
            # float32 sums over a batch in another order, in each of 16 steps
            torch.testing.assert_close(tensor, alone[key], rtol=1e-3, atol=1e-5, msg=f"{key}")


def test_where_no_sum_is_rounded_the_weights_are_equal_bit_by_bit(together: Path) -> None:
    alone = exactly_tuned()
    for rank in (0, 1):
        found = read_weights(together / f"exact {rank}.safetensors")
        assert all(torch.equal(found[key], tensor) for key, tensor in alone.items())


@pytest.mark.parametrize(
    ("speeds", "counts"),
    [
        ((1, 1, 1), [21, 21, 22]),
        ((1, 3), [16, 48]),
        ((1, 1000), [1, 63]),
        ((1000, 1, 1), [62, 1, 1]),
    ],
)
def test_rows_are_shared_by_speed_and_each_worker_has_one(
    speeds: tuple[float, ...], counts: list[int]
) -> None:
    rows = split_rows(range(len(speeds)), 64, speeds)
    assert [each.stop - each.start for each in rows] == counts
    assert [each.start for each in rows[1:]] == [each.stop for each in rows[:-1]]
    assert (rows[0].start, rows[-1].stop) == (0, 64)
