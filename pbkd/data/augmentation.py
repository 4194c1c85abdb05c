"""The random changes to training images: by an augmentation plugin, and by their source."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from pbkd.errors import PLUGIN_FAILURES, PbkdError, PluginError
from pbkd.plugin.attribution import describe_failure, describe_strategy
from pbkd.plugin.signatures import accepts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor


__all__ = ["WHOLE", "Augmentation", "crop_and_flip"]

WHOLE = slice(None)
"""All rows of a batch."""


def crop_and_flip(crop: int, flip: bool) -> dict[str, Any]:
    """Return the choice of random shifts and flips, or of no augmentation if both are off.

    Args:
        crop: Pixels by which images shift, up to; 0: they do not.
        flip: Whether to mirror images at random.
    """
    return {"name": "crop-flip", "crop": crop, "flip": flip} if crop or flip else {"name": "none"}


@dataclass(frozen=True)
class Augmentation:
    """The random changes to training images.

    Attributes:
        choice: What `augmentation=source` stands for: the `name` of an augmentation, or `none`,
            and its options.
        area: Smallest share of an image that a random resized crop covers (1 = off). The decoder
            of the image files makes this crop, see `ImageDecoder`.
        external: Whether an image may differ each time that it is read, because the source applies
            random transforms of its own.
        strategy: The chosen augmentation, which pbkd creates; None for none.
        before: If that one mixes images: what changes them first; None for nothing.
        classes: Number of classes, if the images have labels; set by pbkd.
        part: The rows of each batch that this process needs; they are as in the whole batch.
    """

    choice: Mapping[str, Any] = field(default_factory=lambda: {"name": "none"})
    area: float = 1.0
    external: bool = False
    strategy: Any = None
    before: Augmentation | None = None
    classes: int | None = None
    part: slice = field(default_factory=lambda: WHOLE)

    @property
    def is_random(self) -> bool:
        """Whether images differ from one epoch to the next."""
        return bool(self.choice["name"] != "none" or self.area < 1 or self.external)

    @cached_property
    def mixes(self) -> bool:
        """Whether images of a batch are mixed, and so are their labels."""
        return self.strategy is not None and accepts(self.strategy.augment, "labels")

    @cached_property
    def is_per_image(self) -> bool:
        """Whether a part of a batch can be augmented without the rest."""
        drawn = hasattr(self.strategy, "draw") and hasattr(self.strategy, "apply")
        return self.strategy is None or (drawn and not self.mixes)

    def crop_seeds(self, rows: Tensor, seed: int) -> Tensor | None:
        """Derive a seed for the random resized crop of each row.

        Args:
            rows: Row numbers, int64 (B,).
            seed: Seed of the epoch.

        Returns:
            Seeds, int64 (B,), or None if no such crop is configured.
        """
        return (rows + seed % 2**62) if self.area < 1 else None

    def augment(
        self, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: Images, uint8 or float32 (B, C, H, W).
            labels: Their labels, int64 (B,).
            generator: Random generator on the CPU.

        Returns:
            Images of the same shape; and the labels, or, if the augmentation mixes images that
            have labels, soft labels, float32 (B, classes).

        Raises:
            PluginError: The augmentation fails, or returns something else.
        """
        if self.strategy is None:
            assert self.choice["name"] == "none", "with_augmentation creates the strategy"
            return images, labels
        if not self.mixes:
            augmented = self._call("augment", generator, images, generator)
            self._check(augmented, images, "images")
            return augmented, labels
        if self.before is not None:
            images, _ = self.before.augment(images, labels, generator)
        soft = None
        if self.classes is not None:
            soft = functional.one_hot(labels, self.classes).to(torch.float32)
        augmented, mixed = self._call_mixing(images, generator, soft)
        return augmented, labels if mixed is None else mixed

    def augment_part(
        self, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augment the rows `part` of a batch, as `augment` does in the whole batch.

        Args:
            images: Images of these rows, or of the whole batch unless `is_per_image`.
            labels: Labels of the whole batch.
            generator: Random generator on the CPU.

        Returns:
            Images and labels of these rows.
        """
        if self.part == WHOLE or not self.is_per_image:
            augmented, mixed = self.augment(images, labels, generator)
            return augmented[self.part], mixed[self.part]
        draws = self.draw(len(labels), generator)
        if draws is None:
            return images, labels[self.part]
        return self.apply(images, draws[:, self.part]), labels[self.part]

    def draw(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Draw the parameters of `count` augmentations, for `apply`.

        Args:
            count: Number of images.
            generator: Random generator on the CPU.

        Returns:
            A tensor (parameters, count); None if the augmentation does not draw in advance.
        """
        if not (hasattr(self.strategy, "draw") and hasattr(self.strategy, "apply")):
            return None
        draws = self._call("draw", generator, count, generator)
        if not isinstance(draws, torch.Tensor) or draws.ndim != 2 or draws.shape[1] != count:
            raise self._wrong("other draws", f"a tensor (parameters, {count})")
        return draws

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment images with drawn parameters.

        Args:
            images: Images, (B, C, H, W).
            draws: Columns of what `draw` returned, (parameters, B).

        Returns:
            Images of the same shape.
        """
        augmented: Tensor = self._call("apply", torch.Generator(), images, draws)
        self._check(augmented, images, "images")
        return augmented

    def _call_mixing(
        self, images: Tensor, generator: torch.Generator, soft: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        returned = self._call("augment", generator, images, generator, labels=soft)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise self._wrong(f"a {type(returned).__name__}", "a pair of images and labels")
        augmented, mixed = returned
        self._check(augmented, images, "images")
        if soft is None:
            return augmented, None
        self._check(mixed, soft, "labels")
        return augmented, mixed

    def _call(self, method: str, seed: torch.Generator, *arguments: Any, **labels: Any) -> Any:
        try:
            with _torch_seeded(seed):
                return getattr(self.strategy, method)(*arguments, **labels)
        except PbkdError:
            raise
        except PLUGIN_FAILURES as error:
            failure = describe_failure("augmentation", self.strategy, method, error)
            raise PluginError(f"{failure}.") from error

    def _check(self, returned: Any, given: Tensor, what: str) -> None:
        wanted = f"{what} {tuple(given.shape)} of {given.dtype} on the CPU"
        if not isinstance(returned, torch.Tensor):
            raise self._wrong(f"a {type(returned).__name__}", wanted)
        alike = returned.shape == given.shape and returned.dtype == given.dtype
        if not alike or returned.device.type != "cpu":
            found = f"{tuple(returned.shape)} of {returned.dtype} on {returned.device.type}"
            raise self._wrong(f"{what} {found}", wanted)

    def _wrong(self, found: str, wanted: str) -> PluginError:
        owner = describe_strategy("augmentation", self.strategy)
        return PluginError(f"{owner} returned {found}, but must return {wanted}.")


@contextmanager
def _torch_seeded(generator: torch.Generator) -> Iterator[None]:
    """Let torch's global generator on the CPU depend on another one, and restore it afterwards."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(generator.initial_seed() ^ 1)  # other numbers than its
    try:
        yield
    finally:
        torch.set_rng_state(state)
