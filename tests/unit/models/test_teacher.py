from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from pbkd.config.load import load_config, read_yaml
from pbkd.config.schema import RunConfig
from pbkd.data.normalization import Normalization
from pbkd.data.sources import DigitsSource
from pbkd.errors import ConfigError, PbkdError, TeacherError, UnknownNameError, WeightsError
from pbkd.models.accuracy import accuracy
from pbkd.models.metrics import macs, parameters
from pbkd.models.teacher import build_network, find_model, list_variants, load_teacher
from pbkd.models.weights import fingerprint, read_weights, write_weights
from pbkd.protocols import ZooModel
from pbkd.zoo.recipes import card_licence, compression_config, describe
from tests.paths import ROOT

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry

DIGITS = ["digits-vgg", "digits-resnet"]
SHIPPED = ["vgg16-cifar10", "resnet20-cifar10", *DIGITS]


def card_of(model: ZooModel) -> Any:
    assert model.card is not None
    return OmegaConf.load(model.card)


def refused(registry: Registry, kind: type[PbkdError], **choice: object) -> str:
    with pytest.raises(kind) as caught:
        load_teacher(registry, choice)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_these_teachers_come_with_weights(registry: Registry) -> None:
    models = registry.strategies["model"].values()
    assert [model.name for model in models if model.weights] == SHIPPED
    assert [model.name for model in models if model.card] == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_is_about_the_file_beside_it(registry: Registry, name: str) -> None:
    model, _ = find_model(registry, name)
    card = card_of(model)
    assert model.weights is not None
    content = model.weights.read_bytes()
    assert hashlib.sha256(content).hexdigest() == card.sha256
    assert len(content) <= 8_000_000
    assert (card.name, card.summary, card.licence) == (name, model.summary, "Apache-2.0")
    assert card.recipe.model.name == name
    assert card.command.startswith(f"pbkd zoo train {name}")


@pytest.mark.parametrize("name", DIGITS)
def test_a_digits_teacher_is_what_its_card_says(registry: Registry, name: str) -> None:
    model, _ = find_model(registry, name)
    card, teacher = card_of(model), load_teacher(registry, {"name": name})
    digits = DigitsSource().load()
    assert parameters(teacher.network) == card.parameters
    assert model.input_shape == digits.image_shape
    assert macs(teacher.network, digits.image_shape) == card.macs
    for split in ("validation", "test"):
        rows = getattr(digits, split)
        found = accuracy(teacher.network, rows, teacher.normalization, device="cpu")
        # One image more or less: sums are in another order where kernels differ.
        assert abs(found - card.accuracy[split]) <= 1 / len(rows) + 1e-9
    assert card.accuracy.test >= 0.97


def test_a_shipped_teacher_is_of_the_size_that_its_card_says(registry: Registry) -> None:
    for name in SHIPPED:
        model, _ = find_model(registry, name)
        card, teacher = card_of(model), load_teacher(registry, {"name": name})
        assert model.input_shape is not None
        assert parameters(teacher.network) == card.parameters
        assert macs(teacher.network, model.input_shape) == card.macs


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
    assert refused(registry, UnknownNameError, name=name, weights="random").startswith(told)


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


def test_a_model_is_described_with_options_size_and_card(registry: Registry) -> None:
    assert describe(registry, "vgg11").splitlines()[:3] == [
        "vgg11: VGG for small images: 8 convolutions, one linear layer",
        f"parameters: {parameters(build_network(registry, {'name': 'vgg11'})):,}",
        "input: any",
    ]
    assert "  teacher.num_classes = 10" in describe(registry, "vgg11").splitlines()
    lines = describe(registry, "digits-vgg").splitlines()
    assert lines[1:5] == ["parameters: 288,618", "input: 1x8x8", "options:", "  none"]
    model, _ = find_model(registry, "digits-vgg")
    assert model.card is not None
    card = lines[lines.index("card:") + 1 :]
    assert card == ["  " + line for line in model.card.read_text().splitlines()]


def test_a_variant_is_described_without_its_own_name_as_an_option(registry: Registry) -> None:
    text = describe(registry, "torchvision:squeezenet1_1")
    assert "teacher.variant" not in text
    assert "  teacher.pretrained = False" in text.splitlines()


def test_the_shipped_weights_are_plain_tensors(registry: Registry) -> None:
    for name in SHIPPED:
        model, _ = find_model(registry, name)
        assert model.weights is not None
        weights = read_weights(model.weights)
        assert weights.keys() == model.build().state_dict().keys()
        assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_every_recipe_is_that_of_a_model(registry: Registry) -> None:
    models = [model for model in registry.strategies["model"].values() if model.recipe]
    files = {path.stem for path in (ROOT / "zoo" / "pbkd_zoo" / "recipes").iterdir()}
    assert {model.name for model in models} == files >= set(DIGITS)
    for model in models:
        assert model.recipe is not None
        config = load_config(file=model.recipe)
        assert config.teacher["name"] == model.name
        assert config.out == RunConfig().out
        for key, value in read_yaml(model.recipe).items():
            if key not in ("teacher", "data"):
                assert value != getattr(RunConfig(), key), f"{model.name}: {key} is the default"


def test_a_recipe_takes_overrides_but_no_other_teacher(registry: Registry) -> None:
    config = compression_config(registry, "digits-resnet", ["seed=3", "teacher.weights=w.pt"])
    assert config == RunConfig(
        teacher={"name": "digits-resnet", "weights": "w.pt"}, data={"name": "digits"}, seed=3
    )
    with pytest.raises(ConfigError, match="'teacher' is 'vgg16', but this is the recipe of"):
        compression_config(registry, "digits-resnet", ["teacher=vgg16"])
    with pytest.raises(ConfigError, match="with `pbkd run teacher=timm:resnet26d`"):
        compression_config(registry, "timm:resnet26d", [])


def test_a_licence_is_that_of_the_weights_of_the_zoo(registry: Registry) -> None:
    assert card_licence(registry, {"name": "digits-vgg"}) == "Apache-2.0"
    assert card_licence(registry, {"name": "digits-vgg", "weights": "mine.pt"}) is None
    assert card_licence(registry, {"name": "vgg16"}) is None
