from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
import torch
from pbkd_vgg import VggPartitioner
from torch import nn

from pbkd.config.load import load_config
from pbkd.core.devices import pick_device
from pbkd.data.load import load_data
from pbkd.errors import (
    ChainError,
    ConfigError,
    PbkdError,
    PluginError,
    TeacherError,
    UnknownNameError,
)
from pbkd.models.partition import cut, pick_partitioner
from pbkd.plugin.registry import Registry, build_registry
from pbkd.testing import tiny_teacher
from pbkd.training.task import DistillationTask, build_task

if TYPE_CHECKING:
    from pathlib import Path


def test_the_chain_is_the_teacher_and_the_folded_one_is_near_it(digits: DistillationTask) -> None:
    with torch.no_grad():
        expected = digits.teacher.network(digits.images)
        assert torch.equal(digits.chain(digits.images), expected)
        # Folding rounds differently.
        torch.testing.assert_close(digits.fused(digits.images), expected, rtol=1e-3, atol=1e-3)


def test_teacher_and_folded_chain_are_frozen(digits: DistillationTask) -> None:
    for network in (digits.teacher.network, digits.fused):
        assert not any(p.requires_grad for p in network.parameters())
        assert not any(m.training for m in network.modules())


def test_the_first_batch_is_normalised_as_the_teacher_needs(digits: DistillationTask) -> None:
    raw = digits.data.train.images(torch.arange(64)).float() / 255
    torch.testing.assert_close(digits.images, (raw - 0.5) / 0.5)


@pytest.mark.parametrize(("name", "partitioner"), [("digits-vgg", "vgg"), ("resnet20", "resnet")])
def test_auto_finds_the_partitioner(registry: Registry, name: str, partitioner: str) -> None:
    network = registry.find("model", name).build()
    assert pick_partitioner(registry, {"name": "auto"}, network).name == partitioner


def test_auto_hands_on_options(registry: Registry) -> None:
    network = registry.find("model", "vgg16").build()
    choice = {"name": "auto", "granularity": "stage"}
    chain = pick_partitioner(registry, choice, network).partition(network)
    assert [name for name, _ in chain.named_children()][:2] == ["stage1", "stage2"]


def test_any_other_network_goes_to_the_one_that_takes_any(registry: Registry) -> None:
    first, *_ = registry.strategies["partitioner"]
    assert first == "fx"  # by name it would be asked first
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    assert pick_partitioner(registry, {"name": "auto"}, network).name == "fx"


def test_a_network_that_nobody_knows() -> None:
    registry = build_registry()
    del registry.strategies["partitioner"]["fx"]
    with pytest.raises(ChainError, match="no partitioner knows the network Linear"):
        pick_partitioner(registry, {"name": "auto"}, nn.Linear(2, 2))


OWN = f"the plugin '{__name__}'"


class _Sick:
    """A partitioner that raises, wherever it is asked."""

    name: ClassVar[str] = "sick"

    def accepts(self, network: nn.Module) -> bool:
        raise KeyError(f"layer4 of {type(network).__name__}")

    def partition(self, network: nn.Module) -> nn.Sequential:
        raise KeyError(f"layer4 of {type(network).__name__}")


def test_a_partitioner_that_raises_is_named() -> None:
    with pytest.raises(
        ChainError, match=rf"'sick' of {OWN} failed in partition on Linear \(KeyError: "
    ):
        cut(_Sick(), nn.Linear(2, 2), torch.rand(1, 2))


def test_a_partitioner_that_cannot_even_say_whether_it_accepts_is_named() -> None:
    registry = build_registry()
    registry.strategies["partitioner"] = {"sick": _Sick}
    with pytest.raises(
        PluginError, match=rf"'sick' of {OWN} failed in accepts on Linear \(.*\): choose"
    ):
        pick_partitioner(registry, {"name": "auto"}, nn.Linear(2, 2))


class _Vandal(VggPartitioner):
    """A partitioner that leaves the teacher other than it found it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        object.__setattr__(self, "how", how)

    def partition(self, teacher: nn.Module) -> nn.Sequential:
        if self.how == "trains":
            teacher.train()
        else:
            next(teacher.parameters()).data.mul_(2)
        return super().partition(teacher)

    how: str


@pytest.mark.parametrize("how", ["trains", "scales"])
def test_a_partitioner_that_changes_the_teacher_is_named(how: str) -> None:
    with pytest.raises(PluginError, match=f"the partitioner 'vgg' of {OWN} changes the teacher"):
        cut(_Vandal(how), tiny_teacher(), torch.rand(1, 3, 8, 8))


def test_a_partitioner_that_gives_no_chain_is_told() -> None:
    class Confused(VggPartitioner):
        def partition(self, teacher: nn.Module) -> nn.Sequential:
            return [teacher]  # type: ignore[return-value]

    with pytest.raises(ChainError, match=f"'vgg' of {OWN} cuts wrongly: a chain must .*, not list"):
        cut(Confused(), tiny_teacher(), torch.rand(1, 3, 8, 8))


def test_what_the_check_of_a_chain_raises_is_not_blamed_on_partition() -> None:
    class Swapped(VggPartitioner):
        def partition(self, teacher: nn.Module) -> nn.Sequential:
            return nn.Sequential(OrderedDict(reversed(super().partition(teacher)._modules.items())))

    with pytest.raises(ChainError, match=f"'vgg' of {OWN} cuts wrongly: the segment 'head' cannot"):
        cut(Swapped(), tiny_teacher(), torch.rand(1, 3, 8, 8))
    with pytest.raises(
        TeacherError, match=r"^the network _Teacher cannot process images of 1 x 8 x 8 \("
    ):
        cut(VggPartitioner(), tiny_teacher(), torch.rand(1, 1, 8, 8))


def test_an_unknown_data_source_has_a_close_match(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match="unknown data 'digit'. Did you mean 'digits'"):
        load_data({"name": "digit"}, registry)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["teacher=resnet20", "teacher.weights=random"], TeacherError, "1 channels"),
        (["data=synthetic", "data.channels=1", "data.height=8", "data.width=8", "data.classes=13"],
         TeacherError, "run from 0 to 12, but the teacher has 10 outputs"),
    ],
)  # fmt: skip
def test_a_teacher_that_does_not_fit_the_data(
    registry: Registry, overrides: list[str], error: type[PbkdError], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_task(load_config(overrides), registry, "cpu")


def test_labels_may_lack_the_last_classes_of_the_teacher(registry: Registry) -> None:
    data = ["data=synthetic", "data.channels=1", "data.height=8", "data.width=8", "data.classes=7"]
    task = build_task(load_config(data), registry, "cpu")
    assert task.data.num_classes == task.training.num_classes == 10
    assert task.data.notes == ("The images have labels of 7 of the teacher's 10 classes.",)


def test_images_too_small_for_the_teacher(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    images, labels = np.zeros((20, 4, 4, 3), np.uint8), np.arange(20) % 10
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    overrides = [
        "teacher=torchvision:squeezenet1_0",
        "teacher.num_classes=10",
        "teacher.weights=random",
        "data=npz",
        f"data.path={path}",
    ]
    with pytest.raises(TeacherError, match=r"cannot take images of shape \(3, 4, 4\)"):
        build_task(load_config(overrides), registry, "cpu")


def test_a_device_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ConfigError, match="'device' is cuda"):
        pick_device("cuda")


def test_auto_takes_the_accelerator_or_the_cpu() -> None:
    found = torch.accelerator.current_accelerator(check_available=True)
    assert pick_device("auto") == (found.type if found else "cpu")
    assert pick_device("cpu") == "cpu"
