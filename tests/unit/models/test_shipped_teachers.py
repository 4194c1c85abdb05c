"""The teachers that come with weights, and their cards."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
import torch
from omegaconf import OmegaConf
from pbkd_digits import DigitsSource

from pbkd.config.load import load_config
from pbkd.config.schema import RunConfig
from pbkd.errors import ConfigError
from pbkd.models.accuracy import accuracy
from pbkd.models.metrics import macs, parameters
from pbkd.models.teacher import build_network, find_model, load_teacher
from pbkd.models.weights import read_weights
from pbkd.protocols import ZooModel
from pbkd.zoo.recipes import card_licence, compression_config, describe

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry


DIGITS = ["digits-vgg", "digits-resnet"]

SHIPPED = ["vgg16-cifar10", "resnet20-cifar10", *DIGITS]


def card_of(model: ZooModel) -> Any:
    assert model.card is not None
    return OmegaConf.load(model.card)


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
    assert card.recipe.teacher.name == name
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


def test_every_network_of_the_families_has_a_recipe(registry: Registry) -> None:
    models = registry.strategies["model"].values()
    assert {model.name for model in models if model.recipe is None} == {"torchvision", "timm"}
    for model in models:
        if model.recipe is not None:
            config = compression_config(registry, model.name, [])
            assert config.teacher == {"name": model.name}
            for key, value in dict(model.recipe).items():
                if key not in ("teacher", "data"):
                    assert value != getattr(RunConfig(), key), f"{model.name}: {key} is the default"


def test_a_deeper_resnet_keeps_a_smaller_share(registry: Registry) -> None:
    names = ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110"]
    shares = [compression_config(registry, name, []).builder["share"] for name in names]
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[3]) == (0.36, 0.311)


def test_a_recipe_takes_overrides_but_no_other_teacher(registry: Registry) -> None:
    config = compression_config(registry, "digits-resnet", ["seed=3", "teacher.weights=w.pt"])
    assert config == RunConfig(
        teacher={"name": "digits-resnet", "weights": "w.pt"}, data={"name": "digits"}, seed=3
    )
    with pytest.raises(ConfigError, match="'teacher' is 'vgg16', but this is the recipe of"):
        compression_config(registry, "digits-resnet", ["teacher=vgg16"])
    with pytest.raises(ConfigError, match="with `pbkd run teacher=timm:resnet26d`"):
        compression_config(registry, "timm:resnet26d", [])


def test_a_limit_of_the_user_replaces_those_of_the_recipe(registry: Registry) -> None:
    def config(*overrides: str) -> RunConfig:
        return compression_config(registry, "vgg16-cifar10", overrides)

    recipe = config()
    assert recipe.target.macs == 0.2
    for wish in ("target.speedup=2.5", "target.curve=[0.5, 0.3]", "target.macs=0.4"):
        own = config(wish)
        assert own.target == load_config([wish]).target
        assert (own.builder, own.candidates) == (RunConfig().builder, RunConfig().candidates)
        assert (own.partitioner, own.data) == (recipe.partitioner, recipe.data)
    chosen = config("target.speedup=2.5", "builder=separable", "candidates=[ghost]")
    assert chosen.builder == {"name": "separable"}
    assert chosen.candidates == ["ghost"]
    for more in ("target.max_drop=1", "target.macs=null"):
        assert config(more).candidates == recipe.candidates


def test_a_licence_is_that_of_the_weights_of_the_zoo(registry: Registry) -> None:
    assert card_licence(registry, {"name": "digits-vgg"}) == "Apache-2.0"
    assert card_licence(registry, {"name": "digits-vgg", "weights": "mine.pt"}) is None
    assert card_licence(registry, {"name": "vgg16"}) is None
