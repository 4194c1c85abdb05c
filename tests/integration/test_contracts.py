"""Contracts that every registered strategy and model keeps, whoever wrote it."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch

from pbkd.config.options import typed_options
from pbkd.models.chain import describe_blocks, freeze, fuse_batchnorm
from pbkd.models.partition import pick_partitioner
from pbkd.plugin.registry import build_registry
from pbkd.plugin.slots import PROTOCOLS, SLOTS
from pbkd.protocols import ZooModel
from pbkd.testing import check_partitioner, examine

REGISTRY = build_registry()
STRATEGIES = [(slot, name) for slot in PROTOCOLS for name in REGISTRY.strategies[slot]]
MODELS = [name for name, model in REGISTRY.strategies["model"].items() if not model.variants]
FAMILIES = {"torchvision": ("vgg11_bn", "resnet18"), "timm": ("vgg11", "resnet18", "resnet26d")}


def test_nothing_built_in_is_broken() -> None:
    assert REGISTRY.broken == []
    # The observers are loaded on demand.
    assert all(REGISTRY.strategies[slot] for slot in SLOTS if slot != "observer")


@pytest.mark.parametrize(("slot", "name"), STRATEGIES)
def test_a_strategy_is_a_frozen_picklable_dataclass(slot: str, name: str) -> None:
    required = {"path": "data"} if slot == "data" and name in ("npz", "imagefolder") else {}
    strategy = REGISTRY.create(slot, {"name": name, **required})
    assert dataclasses.is_dataclass(strategy)
    assert getattr(type(strategy), "__dataclass_params__").frozen  # noqa: B009
    assert pickle.loads(pickle.dumps(strategy)) == strategy
    assert type(strategy).__doc__


# Launchers for several machines keep theirs in their own tests, which start what they need;
# exporters and engines that take seconds, in slow tests beside them.
APART = ("torchrun", "ray", "onnx", "onnx-int8", "openvino", "pt2e", "executorch")


@pytest.mark.parametrize("name", [name for name in REGISTRY.plugins if name not in APART])
def test_a_plugin_keeps_its_contract(name: str) -> None:
    checks = list(examine(REGISTRY, REGISTRY.plugins[name]))
    # A source of data may need a path, with which its own test checks it.
    assert [check for check in checks if check.passed is False] == []


@pytest.mark.parametrize("name", MODELS)
def test_models_are_cut_checked_and_folded(name: str) -> None:
    model: ZooModel = REGISTRY.find("model", name)
    network = freeze(model.build(**typed_options(model.build, {}, where="teacher")))
    channels, height, width = model.input_shape or (len(model.mean), 32, 32)
    images = torch.rand(2, channels, height, width)
    partitioner = pick_partitioner(REGISTRY, {"name": "auto"}, network)
    check_partitioner(partitioner, network, images)
    chain = partitioner.partition(network)
    assert chain[-1] is chain.head
    blocks = describe_blocks(chain, images[:1], [n for n, _ in chain.named_children()])
    assert blocks[-1].output_shape == (10,)
    fused = fuse_batchnorm(chain, images)
    expected = network(images)
    scale = float(expected.abs().max())
    # BatchNorm folded into the kernels rounds differently.
    torch.testing.assert_close(fused(images), expected, rtol=1e-3, atol=1e-3 * scale)


@pytest.mark.parametrize(("family", "variant"), [(f, v) for f, vs in FAMILIES.items() for v in vs])
def test_family_members_are_cut(family: str, variant: str) -> None:
    model: ZooModel = REGISTRY.find("model", family)
    network = freeze(model.build(variant=variant, num_classes=7))
    partitioner = pick_partitioner(REGISTRY, {"name": "auto"}, network)
    check_partitioner(partitioner, network, torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize("name", MODELS)
def test_shipped_weights_have_a_card(name: str) -> None:
    model: ZooModel = REGISTRY.find("model", name)
    if model.weights is None:
        assert model.card is None
    else:
        assert model.weights.is_file()
        assert model.card is not None
        assert model.card.is_file()
