from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from pbkd.data.normalization import Normalization
from pbkd.errors import ConfigError, PbkdError, TeacherError, UnknownNameError, WeightsError
from pbkd.models.teacher import build_network, list_variants, load_teacher
from pbkd.models.weights import fingerprint, write_weights
from pbkd.protocols import ZooModel
from tests.unit.models.test_shipped_teachers import DIGITS

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry


def refused(registry: Registry, kind: type[PbkdError], **choice: object) -> str:
    with pytest.raises(kind) as caught:
        load_teacher(registry, choice)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", DIGITS)
def test_a_teacher_is_frozen_and_in_evaluation_mode(registry: Registry, name: str) -> None:
    teacher = load_teacher(registry, {"name": name})
    assert not any(module.training for module in teacher.network.modules())
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert (teacher.name, teacher.normalization) == (name, Normalization((0.5,), (0.5,)))
    assert Path(teacher.weights).name == f"{name}.safetensors"
    assert fingerprint(load_teacher(registry, {"name": name}).network) == fingerprint(
        teacher.network
    )


def test_a_teacher_without_weights_is_refused_with_what_to_do(registry: Registry) -> None:
    assert refused(registry, TeacherError, name="vgg16") == (
        "the teacher 'vgg16' has no trained weights: give teacher.weights=FILE."
    )
    assert refused(registry, TeacherError, name="torchvision:resnet18").endswith(
        "give teacher.weights=FILE, or teacher.pretrained=true to download them."
    )
    assert "has no trained weights" in refused(
        registry, TeacherError, name="torchvision:resnet18", pretrained=False
    )


def test_random_weights_are_given_on_purpose_only(registry: Registry) -> None:
    torch.manual_seed(0)
    one = load_teacher(registry, {"name": "digits-vgg", "weights": "random"})
    two = load_teacher(registry, {"name": "digits-vgg", "weights": "random"})
    assert one.weights == "random"
    shipped = load_teacher(registry, {"name": "digits-vgg"})
    prints = {fingerprint(teacher.network) for teacher in (one, two, shipped)}
    assert len(prints) == 3
    assert not any(module.training for module in one.network.modules())


def test_weights_of_the_users_own_are_loaded(registry: Registry, tmp_path: Path) -> None:
    network = build_network(registry, {"name": "resnet20", "width": 4, "num_classes": 3})
    for suffix in ("safetensors", "pt"):
        file = tmp_path / f"w.{suffix}"
        if suffix == "pt":
            torch.save({"state_dict": network.state_dict()}, file)
        else:
            write_weights(file, network.state_dict())
        choice = {"name": "resnet20", "width": 4, "num_classes": 3, "weights": str(file)}
        teacher = load_teacher(registry, choice)
        assert fingerprint(teacher.network) == fingerprint(network)
        assert teacher.weights == str(file)
        told = refused(registry, WeightsError, **{**choice, "num_classes": 10})
        assert "linear.weight (3, 16) instead of (10, 16)" in told
    gone = refused(registry, WeightsError, name="vgg11", weights=str(tmp_path / "gone.pt"))
    assert gone.startswith("there is no file of weights '")


def test_the_users_weights_come_before_the_shipped_ones(registry: Registry, tmp_path: Path) -> None:
    network = build_network(registry, {"name": "digits-vgg"})
    write_weights(tmp_path / "w.safetensors", network.state_dict())
    choice = {"name": "digits-vgg", "weights": str(tmp_path / "w.safetensors")}
    assert fingerprint(load_teacher(registry, choice).network) == fingerprint(network)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"name": "vgg11", "widht": 1}, "unknown option 'teacher.widht'. Did you mean 'width'?"),
        ({"name": "digits-vgg", "pretrained": True}, "unknown option 'teacher.pretrained'."),
        ({"name": "digits-vgg", "num_classes": 3}, "unknown option 'teacher.num_classes'."),
        ({"name": "vgg11", "num_classes": "ten"}, "'teacher.num_classes': Value 'ten'"),
        ({"name": "digits-vgg", "weights": [1]}, "'teacher.weights': "),
        ({"name": "digits-vgg", "mean": 0.5}, "'teacher.mean': "),
        ({"name": "digits-vgg", "std": ["x"]}, "'teacher.std[0]': "),
        ({"name": "digits-vgg", "std": [0.0]}, "'teacher.std' is [0.0], but every value must be"),
        ({"name": "digits-vgg", "std": [-1, 1]}, "'teacher.std' is [-1.0, 1.0], but every value"),
    ],
)
def test_options_that_do_not_fit_are_told(
    registry: Registry, choice: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_teacher(registry, {"weights": "random", **choice})
    assert str(caught.value).startswith(told)


def test_a_network_that_cannot_be_built_is_told(registry: Registry) -> None:
    told = refused(registry, TeacherError, name="vgg11", num_classes=-1, weights="random")
    assert told.startswith("the network 'vgg11' cannot be built with these options: ")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("vg16", "unknown model 'vg16'. Did you mean 'vgg16'? Known: digits-resnet, digits-vgg, "),
        ("vgg16:", "'vgg16:' names no network: write 'vgg16' alone."),
        ("digits-vgg:small", "'digits-vgg:small' names no network: write 'digits-vgg' alone."),
        ("timm", "'timm' names no network: write 'timm:VARIANT'."),
        (
            "torchvison:resnet18",
            "'torchvison' is neither a model nor a module of Python that can be imported from here."
            " Did you mean 'torchvision'?",
        ),
        ("torchvision:resnet81", "torchvision has no model 'resnet81' among its"),
        ("torchvision:", "torchvision has no model '' among its"),
    ],
)
def test_a_name_that_is_no_network_is_told(registry: Registry, name: str, told: str) -> None:
    typed = replace(registry, functions={name})
    assert refused(typed, UnknownNameError, name=name, weights="random").startswith(told)


def test_a_variant_of_a_family_is_built_by_name(registry: Registry) -> None:
    choice = {"name": "torchvision:squeezenet1_1", "num_classes": 7, "weights": "random"}
    teacher = load_teacher(registry, choice)
    assert teacher.network(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    assert teacher.normalization.mean == (0.485, 0.456, 0.406)


def test_the_variants_of_a_family_are_listed(registry: Registry) -> None:
    assert "resnet18" in list_variants(registry, "torchvision")
    with pytest.raises(UnknownNameError, match="'vgg16' is one network, not a family of them"):
        list_variants(registry, "vgg16")
    with pytest.raises(UnknownNameError, match="Did you mean 'timm'"):
        list_variants(registry, "tim")


class Own(nn.Module):
    """A network with timm's note of how its images are to be normalised."""

    def __init__(self, noted: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 2)
        if noted:
            self.pretrained_cfg = {"mean": (0.1,), "std": (0.2,)}


def own(variant: str = "noted", pretrained: bool = False) -> nn.Module:
    network = Own(variant == "noted")
    nn.init.constant_(network.linear.weight, float(pretrained))
    return network


@pytest.fixture
def family(registry: Registry) -> Registry:
    """A registry with one family, `own`, whose weights can be 'downloaded': they are all ones."""
    model = ZooModel("own", own, "own", (0.3,), (0.4,), variants=lambda: ["noted", "plain"])
    strategies = copy.copy(registry.strategies) | {"model": {"own": model}}
    return type(registry)(registry.manager, strategies)


def test_images_are_normalised_as_given_or_as_noted_or_as_the_zoo_says(family: Registry) -> None:
    def found(**choice: Any) -> tuple[object, object]:
        teacher = load_teacher(family, {"weights": "random", **choice})
        return teacher.normalization.mean, teacher.normalization.std

    assert found(name="own:plain") == ((0.3,), (0.4,))
    assert found(name="own:noted") == ((0.1,), (0.2,))
    assert found(name="own:noted", mean=[0.5], std=[1]) == ((0.5,), (1.0,))


def test_pretrained_weights_are_asked_for_and_give_way_to_a_file(
    family: Registry, tmp_path: Path
) -> None:
    teacher = load_teacher(family, {"name": "own:plain", "pretrained": True})
    assert teacher.weights == "pretrained"
    assert teacher.network.get_parameter("linear.weight").mean() == 1
    file = tmp_path / "w.safetensors"
    write_weights(file, {"linear.weight": torch.full((2, 1), 5.0), "linear.bias": torch.zeros(2)})
    choice = {"name": "own:plain", "pretrained": True, "weights": str(file)}
    teacher = load_teacher(family, choice)
    assert teacher.network.get_parameter("linear.weight").mean() == 5


def test_building_a_network_never_fetches_weights(family: Registry) -> None:
    network = build_network(family, {"name": "own:plain", "pretrained": True})
    assert network.get_parameter("linear.weight").mean() == 0
