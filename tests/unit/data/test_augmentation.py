"""Augmentations of plugins: chosen, tried, and called with what they depend on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pbkd import hookimpl
from pbkd.data import Augmentation, Dataset, crop_and_flip
from pbkd.data.augmentation_choice import with_augmentation
from pbkd.data.batching import shuffled_batches
from pbkd.data.fixed_views import with_fixed_views
from pbkd.errors import ConfigError, DataError, PbkdError, PluginError, UnknownNameError
from pbkd.plugin.registry import Registry, build_registry
from pbkd.testing import tiny_data

PLAIN = {"name": "source"}
KINDS: list[dict[str, Any]] = [
    {"name": "crop-flip", "crop": 2},
    {"name": "rand-augment"},
    {"name": "mixup"},
    {"name": "cutmix", "alpha": 0.5},
]


def chosen(choice: dict[str, Any], registry: Registry, **changes: Any) -> Dataset:
    data = replace(tiny_data(), **changes)
    return with_augmentation(data, choice, {"name": "tiny"}, registry)


def batches(data: Dataset, epoch: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    augmentation = data.augmentation
    return list(shuffled_batches(data.train, 16, seed=1, epoch=epoch, augmentation=augmentation))


def same(one: Any, other: Any) -> bool:
    return all(map(torch.equal, *(sum(map(tuple, each), ()) for each in (one, other))))


@pytest.mark.parametrize("choice", KINDS, ids=str)
def test_batches_depend_on_seed_epoch_and_step_alone(
    choice: dict[str, Any], registry: Registry
) -> None:
    first = batches(chosen(choice, registry))
    torch.manual_seed(99)
    random.seed(99)
    before = torch.get_rng_state()
    again = chosen(choice, registry)
    assert same(batches(again), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not same(batches(again, epoch=1), first)
    assert not same(first, batches(chosen({"name": "none"}, registry)))


def test_labels_stay_numbers_unless_images_are_mixed(registry: Registry) -> None:
    for choice in KINDS:
        _, labels = batches(chosen(choice, registry))[0]
        if choice["name"] in ("mixup", "cutmix"):
            assert (labels.dtype, labels.shape) == (torch.float32, (16, 4))
            torch.testing.assert_close(labels.sum(1), torch.ones(16))
        else:
            assert (labels.dtype, labels.shape) == (torch.int64, (16,))


def test_images_without_labels_are_mixed_too(registry: Registry) -> None:
    labels = torch.full((64,), -1)
    train = replace(tiny_data().train, labels=labels)  # type: ignore[type-var]
    mixed = batches(chosen({"name": "mixup"}, registry, num_classes=None, train=train))
    assert all(torch.equal(labels, torch.full((16,), -1)) for _, labels in mixed)


@pytest.mark.parametrize("choice", KINDS, ids=str)
def test_a_fixed_view_is_the_same_in_every_batch(
    choice: dict[str, Any], registry: Registry
) -> None:
    data = with_fixed_views(chosen(choice, registry), 2, seed=3)
    rows = torch.arange(128)
    images = data.train.images(rows)
    assert torch.equal(data.train.images(rows[[77, 3, 100]]), images[[77, 3, 100]])
    assert not torch.equal(images[:64], images[64:])
    assert images.dtype == torch.uint8
    assert not data.augmentation.is_random
    assert torch.equal(data.train.labels, tiny_data().train.labels.repeat(2))


def test_the_source_chooses_unless_the_user_does(registry: Registry) -> None:
    suggestion = {"augmentation": Augmentation(crop_and_flip(1, False))}
    assert chosen(PLAIN, registry).augmentation.strategy is None
    assert chosen(PLAIN, registry, **suggestion).augmentation.strategy.crop == 1
    assert not chosen({"name": "none"}, registry, **suggestion).augmentation.is_random
    mixing = chosen({"name": "mixup"}, registry, **suggestion).augmentation
    assert (mixing.strategy.name, mixing.choice) == ("mixup", {"name": "mixup"})


@pytest.mark.parametrize(
    ("choice", "kind", "message"),
    [
        ({"name": "crop-flap"}, UnknownNameError, "unknown augmentation 'crop-flap'. Did you mean"),
        ({"name": "crop-flip", "crop": "x"}, ConfigError, "'augmentation.crop': "),
        ({"name": "crop-flip", "corp": 1}, ConfigError, "Did you mean 'crop'"),
        ({"name": "crop-flip", "crop": 8}, DataError, "crop of the augmentation is 8, .* 0 … 7"),
        ({"name": "source", "crop": 1}, ConfigError, "'augmentation.crop' has no effect with"),
        ({"name": "none", "crop": 1}, ConfigError, "no effect with augmentation=none"),
        ({"name": "mixup", "alpha": -1}, ConfigError, "alpha is -1.0, but must be above 0"),
    ],
)
def test_a_wrong_choice_is_one_sentence(
    choice: dict[str, Any], kind: type[PbkdError], message: str, registry: Registry
) -> None:
    with pytest.raises(kind, match=message):
        chosen(choice, registry)


def test_an_option_of_the_data_that_has_no_effect_is_refused(registry: Registry) -> None:
    data = replace(tiny_data(), augmentation=Augmentation(crop_and_flip(2, True)))
    choice = {"name": "tiny", "crop": 2}
    for name in ("none", "rand-augment"):
        with pytest.raises(
            ConfigError, match=f"'data.crop' has no effect with augmentation={name}"
        ):
            with_augmentation(data, {"name": name}, choice, registry)


@pytest.mark.parametrize("views", [0, 2])
def test_images_are_changed_as_the_data_says_before_they_are_mixed(
    views: int, registry: Registry
) -> None:
    data = tiny_data()
    lit = data.train.images(torch.arange(64)).clamp(min=1)
    data = replace(data, train=replace(data.train, pixels=lit))  # type: ignore[type-var]
    for crop, padded in ((0, False), (2, True)):
        source = replace(data, augmentation=Augmentation(crop_and_flip(crop, False)))
        choice = {"name": "tiny", "crop": crop}
        mixed = with_augmentation(source, {"name": "cutmix"}, choice, registry)
        images = torch.cat([images for images, _ in batches(with_fixed_views(mixed, views, 3))])
        assert bool((images == 0).any()) == padded, "only a shift pads with black"


_COUNTER = iter(range(1000))

Change = Callable[[torch.Tensor, torch.Generator], Any]


def registry_with(augment: Callable[..., Any]) -> Registry:
    mine = type("Mine", (), {"name": "mine", "augment": staticmethod(augment)})
    registry = build_registry()
    plugin = SimpleNamespace(register_augmentations=hookimpl(lambda: [mine]), __name__="mine")
    registry.add("mine", plugin, version="", origin="here")
    return registry


def in_place(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images.fill_(int(torch.randint(256, (1,), generator=generator)))


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda images, _: images[:, :, 1:], r"returned images \(4, 3, 7, 8\) of torch.ui"),
        (lambda images, _: images[:2], r"must return images \(4, 3, 8, 8\)"),
        (lambda images, _: images.float(), "of torch.float32 on cpu"),
        (lambda images, _: images.numpy(), "returned a ndarray"),
        (lambda *_: None, "returned a NoneType"),
        (lambda *_: 1 // 0, r"failed in augment \(ZeroDivisionError"),
        (lambda *_: exit(3), r"failed in augment \(SystemExit"),
        (in_place, "modifies its input: let it augment a copy"),
        (lambda images, _: images + next(_COUNTER), "gives other images for the same gen"),
        (lambda images, _: images + random.randrange(256), "gives other images for the"),
        (lambda images, _: images + np.random.randint(256), "from the generator, or by"),
        (
            lambda images, _, labels: images + labels.sum().byte(),
            "must return a pair of images and labels",
        ),
        (
            lambda images, _, labels: (images, labels.numpy()),
            "returned a ndarray, but must return ",
        ),
        (lambda images, _, labels: (images, labels.argmax(1)), "returned labels"),
        (lambda images, _, labels: (images[1:], labels[1:]), r"returned images \(3, 3"),
    ],
)
def test_what_breaks_the_contract_is_refused_at_the_start(
    augment: Callable[..., Any], message: str
) -> None:
    with pytest.raises(PluginError, match=rf"the augmentation 'mine' of the plugin .*{message}"):
        chosen({"name": "mine"}, registry_with(augment))


def test_torchs_own_random_functions_depend_on_the_generator() -> None:
    registry = registry_with(lambda images, _: images + torch.randint(256, (1,)).byte())
    assert same(*(batches(chosen({"name": "mine"}, registry)) for _ in range(2)))


def test_an_augmentation_that_breaks_its_contract_later_is_refused_then() -> None:
    calls = iter(range(100))
    registry = registry_with(lambda images, _: images if next(calls) < 5 else images[:3])
    data = chosen({"name": "mine"}, registry)
    with pytest.raises(PluginError, match="must return images"):
        batches(data)
