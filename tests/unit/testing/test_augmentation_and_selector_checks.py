from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from pbkd_crop_flip import CropFlip
from pbkd_milp import MilpSelector
from torch import Tensor

from pbkd.errors import DataError, PluginError
from pbkd.testing import check_augmentation, check_selector


@dataclass
class Augmenting:
    name: ClassVar[str] = "mine"
    change: Callable[[Tensor, torch.Generator], Any]

    def augment(self, images: Tensor, generator: torch.Generator) -> Any:
        return self.change(images, generator)


def refuse(_images: Tensor, _generator: torch.Generator) -> Tensor:
    raise DataError("it takes images of 7 channels only.")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda images, _: images.mul_(2), "modifies its input"),
        (lambda images, _: images[:, :, 1:], "images"),
        (lambda images, _: images.double(), "images"),
        (lambda _images, _generator: None, "images"),
        (lambda images, _: images.missing, "AttributeError"),
        (lambda images, _: images + torch.seed() % 7, "the generator"),
    ],
)
def test_an_augmentation_that_is_wrong(change: Any, told: str) -> None:
    with pytest.raises(PluginError, match=told):
        check_augmentation(Augmenting(change))


def test_an_augmentation_that_takes_no_images() -> None:
    with pytest.raises(AssertionError, match="it refuses all images: it takes images of 7"):
        check_augmentation(Augmenting(refuse))


def test_an_augmentation_that_is_right() -> None:
    check_augmentation(CropFlip(crop=2, flip=True))


@dataclass
class Selecting:
    name: ClassVar[str] = "mine"
    change: Callable[[Any, Any], Any]
    exact: bool = False

    def select(self, options: Any, limits: Any) -> Any:
        best = MilpSelector().select(options, limits)
        return best and self.change(dict(best), options)


def worst(_best: Any, options: Any) -> Any:
    return {block: max(choices, key=lambda o: o.harm) for block, choices in options.items()}


@pytest.mark.parametrize(
    ("selector", "told"),
    [
        (Selecting(lambda best, _: {**best, "stem": next(iter(best.values()))}), "no block"),
        (Selecting(lambda best, _: dict(list(best.items())[1:])), "selects nothing for the block"),
        (Selecting(lambda _, options: dict.fromkeys(options, 7)), "none of its options"),
        (Selecting(lambda best, _: list(best)), "not a mapping"),
        (Selecting(lambda best, _: best.missing), "AttributeError"),
        (Selecting(worst), "exceeds the limit of macs"),
    ],
)
def test_a_selector_whose_answer_is_wrong(selector: Selecting, told: str) -> None:
    with pytest.raises(PluginError, match=told):
        check_selector(selector)


def test_a_selector_that_is_not_as_exact_as_it_says() -> None:
    def cheapest(_best: Any, options: Any) -> Any:
        return {name: min(all_, key=lambda o: o.costs["macs"]) for name, all_ in options.items()}

    one_limit = Selecting(cheapest)
    one_limit.exact = True
    with pytest.raises((AssertionError, PluginError), match="exact = True|exceeds"):
        check_selector(one_limit)


def test_a_selector_that_gives_up_too_early() -> None:
    with pytest.raises((AssertionError, PluginError), match="returns None, but"):
        check_selector(Selecting(lambda _best, _options: None))
