"""What the host and every worker build before they train: teacher, data and chain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pbkd.core.devices import use_device
from pbkd.data.augmentation_choice import with_augmentation
from pbkd.data.fixed_views import with_fixed_views
from pbkd.data.splits import Subset, fixed_permutation
from pbkd.models.accuracy import accuracy, predict_classes
from pbkd.models.chain import fuse_batchnorm
from pbkd.models.classes import fit_classes
from pbkd.models.forward_pass import settle
from pbkd.models.partition import pick_and_cut
from pbkd.models.precision import frozen_autocast, pick_dtype
from pbkd.models.pseudo_labels import with_pseudo_labels
from pbkd.models.teacher import load_teacher
from pbkd.plugin.user_code import trusting_registry
from pbkd.training.inputs import fit_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from pbkd.config.schema import RunConfig
    from pbkd.data.datasets import Dataset, Split
    from pbkd.data.preparation import Preparation
    from pbkd.models.in_memory import InMemoryInputs
    from pbkd.models.teacher import Teacher
    from pbkd.plugin.registry import Registry
    from pbkd.training.inputs import FittedInputs


__all__ = ["DistillationTask", "build_task", "load_task", "sample_size"]

_SAMPLE = 1_000  # test images, of which an accuracy is known to three points
_SAMPLE_OF_A_CLASS = 20


@dataclass(frozen=True, kw_only=True)
class DistillationTask:
    """What is distilled: teacher, data and chain.

    Attributes:
        teacher: The teacher, on its device.
        data: Training, validation and test split.
        data_choice: The configuration's `data`, with the preprocessing that the teacher asks for.
        preparation: How a picture becomes the teacher's input.
        chain: The teacher as a chain of segments.
        fused: The chain with BatchNorm folded into the convolutions, channels-last.
        images: The first batch of the training split, normalised: (B, C, H, W).
        partitioner: Name and options of the partitioner that made the chain.
        training: The data of the blockwise phases: `data`, or fixed views of it.
        fixed_views: Number of fixed views per training image and their seed; None if every epoch
            is augmented anew.
        dtype: What the blockwise phases compute in.
    """

    teacher: Teacher
    data: Dataset
    data_choice: Mapping[str, Any]
    preparation: Preparation
    chain: nn.Sequential
    fused: nn.Sequential
    images: Tensor
    partitioner: Mapping[str, Any]
    training: Dataset
    fixed_views: tuple[int, int] | None = None
    dtype: torch.dtype = torch.float32

    @cached_property
    def feeding(self) -> nn.Sequential:
        """The folded chain that feeds blocks, under autocast where the run has one."""
        if self.dtype == torch.float32:
            return self.fused
        feeding = nn.Sequential()
        for name, segment in self.fused.named_children():
            feeding.add_module(name, frozen_autocast(segment, self.dtype))
        return feeding

    @property
    def device(self) -> torch.device:
        """The device of teacher and images."""
        return self.images.device

    @cached_property
    def teacher_classes(self) -> Tensor:
        """The teacher's class of every test image, int64 (len(data.test),); predicted once."""
        test = self.data.test
        return self.predict(self.teacher.network, test) if self.data.labelled else test.labels

    @cached_property
    def validation_classes(self) -> Tensor:
        """The teacher's class of every validation image, int64 (images,); predicted once."""
        validation = self.data.validation
        labelled = self.data.labelled
        return self.predict(self.teacher.network, validation) if labelled else validation.labels

    @cached_property
    def sample(self) -> tuple[Split, Tensor]:
        """Some test images, drawn from all over the split, and the teacher's class of each.

        They show before training what the teacher is worth; all classes of a large split are
        predicted after it.
        """
        test = self.data.test
        count = sample_size(len(test), self.data.num_classes)
        if count == len(test):
            return test, self.teacher_classes
        some = Subset(test, fixed_permutation(len(test))[:count].sort().values)
        return some, self.predict(self.teacher.network, some)

    def know_validation_classes(self, classes: Tensor) -> None:
        """Take over the teacher's class of every validation image, unless they are its labels."""
        if self.data.labelled:
            self.__dict__["validation_classes"] = classes

    def know_teacher_classes(self, classes: Tensor) -> None:
        """Take over the teacher's class of every test image, which other processes predicted."""
        self.__dict__["teacher_classes"] = classes

    @property
    def teacher_classes_are_known(self) -> bool:
        """Whether the teacher has predicted the class of every test image."""
        return "teacher_classes" in self.__dict__

    def normalize(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into the teacher's float32 input, on its device."""
        return self.teacher.normalization.apply(images, self.device)

    def feed_input(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into the input of `feeding`, of type `dtype`."""
        return self.normalize(images).to(self.dtype)

    def score(self, network: nn.Module, split: Split) -> float:
        """Score a network on a split.

        Returns:
            Its accuracy in [0, 1], or, on data without labels, its agreement with the teacher.
        """
        return accuracy(network, split, self.teacher.normalization, device=self.device)

    def predict(self, network: nn.Module, split: Split) -> Tensor:
        """Predict the class of every image of a split: int64 (len(split),), on the CPU."""
        return predict_classes(network, split, self.teacher.normalization, device=self.device)


def sample_size(images: int, classes: int | None) -> int:
    """Return how many test images show before training what the teacher is worth.

    Args:
        images: Images of the test split.
        classes: Its classes; None without labels.
    """
    return min(images, max(_SAMPLE, _SAMPLE_OF_A_CLASS * (classes or 0)))


def build_task(
    config: RunConfig,
    registry: Registry,
    device: str,
    inputs: InMemoryInputs | None = None,
    *,
    by_stages: bool = False,
) -> DistillationTask:
    """Load teacher and data, cut the teacher into a chain, and check that all fit together.

    Args:
        config: The configuration.
        registry: The plugins.
        device: Where the teacher computes.
        inputs: A teacher, and optionally data, that a program has in memory.
        by_stages: Whether `partitioner=auto` may cut a network into its stages.

    Returns:
        The task, the same in every process of a run.

    Raises:
        TeacherError: If the teacher cannot be built or does not fit the data.
        ChainError: If no partitioner accepts it, or its chain computes something else.
        DataError: If the data is damaged or missing.
        ConfigError: If a setting is invalid.
    """
    loaded = inputs.teacher() if inputs else load_teacher(registry, config.teacher)
    fitted = fit_inputs(loaded, config.data, registry, inputs.data if inputs else None)
    where = torch.device(device)
    use_device(where)
    dtype = pick_dtype(config.autocast, where)
    teacher, data, images = _settled(fitted, where, config, registry)
    partitioner, chain = pick_and_cut(
        registry, config.partitioner, teacher.network, images[:2], by_stages=by_stages
    )
    return DistillationTask(
        teacher=teacher,
        data=data,
        data_choice=fitted.data_choice,
        preparation=fitted.preparation,
        chain=chain,
        fused=fuse_batchnorm(chain, images[:2]),
        images=images,
        partitioner=partitioner,
        training=with_fixed_views(data, config.views, config.seed),
        fixed_views=(config.views, config.seed) if config.views else None,
        dtype=dtype,
    )


def _settled(
    fitted: FittedInputs, device: torch.device, config: RunConfig, registry: Registry
) -> tuple[Teacher, Dataset, Tensor]:
    """Fit the teacher's outputs and the data's labels to each other, and add augmentation.

    Returns:
        The teacher on its device, the data, and the input of the first batch.
    """
    teacher, data = fitted.teacher, fitted.data
    network = teacher.network.to(device)
    first = data.train.images(torch.arange(min(config.batch_size, len(data.train))))
    images = teacher.normalization.apply(first, device)
    notes = settle(network, images[:2], data.num_classes, config.teacher)
    teacher = replace(teacher, notes=(*teacher.notes, *notes))
    data = fit_classes(network, with_pseudo_labels(data, teacher, device), images[:2])
    return teacher, with_augmentation(data, config.augmentation, config.data, registry), images


def load_task(config: RunConfig, device: str) -> DistillationTask:
    """Build the task with the plugins that the configuration names, in any process."""
    names = config.teacher["name"], config.data["name"]
    return build_task(config, trusting_registry(config.plugins, *names), device)
