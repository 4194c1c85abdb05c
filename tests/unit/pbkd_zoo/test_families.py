from __future__ import annotations

import inspect
import typing
from typing import Any
from urllib.error import URLError

import huggingface_hub.constants
import pytest
import torch
from pbkd_zoo import families, register_models
from torchvision import models

from pbkd.errors import ConfigError, UnknownNameError, WeightsError

if typing.TYPE_CHECKING:
    from pathlib import Path

    from pbkd.protocols import ZooModel


def family(name: str) -> ZooModel:
    return {model.name: model for model in register_models()}[name]


@pytest.mark.parametrize(("name", "variant"), [("torchvision", "resnet18"), ("timm", "resnet26d")])
def test_a_family_lists_its_variants(name: str, variant: str) -> None:
    variants = family(name).variants
    assert variants is not None
    assert variant in variants()


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_listed_variants_can_be_built(name: str) -> None:
    model = family(name)
    assert model.variants is not None
    with torch.device("meta"):
        for variant in [variant for variant in model.variants() if "resnet1" in variant][:5]:
            assert sum(p.numel() for p in model.build(variant=variant).parameters()) > 0


def test_options_can_be_read_from_the_builders() -> None:
    def options(name: str) -> dict[str, tuple[Any, Any]]:
        build = family(name).build
        hints = typing.get_type_hints(build)
        parameters = inspect.signature(build).parameters
        return {key: (hints[key], parameter.default) for key, parameter in parameters.items()}

    shared = {
        "variant": (str, inspect.Parameter.empty),
        "num_classes": (int, 1000),
        "pretrained": (bool, False),
    }
    assert options("torchvision") == shared
    assert options("timm") == {**shared, "in_channels": (int, 3)}


def test_torchvision_networks_get_the_classes_asked_for() -> None:
    network = families.build_torchvision(variant="squeezenet1_1", num_classes=7).eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_timm_networks_get_the_classes_and_channels_asked_for() -> None:
    network = families.build_timm(variant="resnet10t", num_classes=7, in_channels=1).eval()
    assert network(torch.zeros(1, 1, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize(
    ("build", "variant", "meant"),
    [
        (families.build_torchvision, "resnet19", "resnet1"),
        (families.build_timm, "resnet26dd", "resnet26d"),
        (families.build_timm, "resnet50.a1_in1", "resnet50.a1_in1k"),
    ],
)
def test_an_unknown_variant_is_named_with_the_nearest(
    build: typing.Callable[..., Any], variant: str, meant: str
) -> None:
    with pytest.raises(UnknownNameError) as caught:
        build(variant=variant)
    message = str(caught.value)
    assert f"'{variant}'" in message
    assert f"Did you mean '{meant}" in message
    assert len(message) < 500  # timm knows over a thousand names


def test_torchvision_loads_its_default_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = models.get_model_weights("squeezenet1_1").DEFAULT
    stored = models.squeezenet1_1().state_dict()
    checkpoint = tmp_path / "hub" / "checkpoints" / weights.url.rsplit("/", 1)[1]
    checkpoint.parent.mkdir(parents=True)
    torch.save(stored, checkpoint)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    loaded = families.build_torchvision(variant="squeezenet1_1", pretrained=True).state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in stored.items())


def test_a_failed_torchvision_download_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", fail)
    with pytest.raises(WeightsError, match=r"torchvision:resnet18 .*no route to host") as caught:
        families.build_torchvision(variant="resnet18", pretrained=True)
    assert "\n" not in str(caught.value)


def test_a_failed_timm_download_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"timm:resnet10t cannot be loaded: ") as caught:
        families.build_timm(variant="resnet10t", pretrained=True)
    assert "\n" not in str(caught.value)


def test_pretrained_torchvision_weights_have_a_fixed_number_of_classes() -> None:
    with pytest.raises(ConfigError, match="have 1000 classes, so num_classes cannot be 10"):
        families.build_torchvision(variant="resnet18", num_classes=10, pretrained=True)
