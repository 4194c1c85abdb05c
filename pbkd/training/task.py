"""What host and workers need before they start: teacher, data, chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from pbkd.data.batching import normalise
from pbkd.data.fixed_views import with_fixed_views
from pbkd.data.load import load_data, with_preprocessing
from pbkd.errors import TeacherError
from pbkd.models.chain import fuse_batchnorm
from pbkd.models.partition import check_classes, cut, pick_partitioner
from pbkd.models.precision import autocast, pick_dtype
from pbkd.models.pseudo_labels import with_answers
from pbkd.models.teacher import load_teacher

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.config.schema import RunConfig
    from pbkd.data.datasets import Dataset
    from pbkd.models.teacher import InMemoryInputs, Teacher
    from pbkd.plugin.registry import Registry


__all__ = ["DistillationTask", "build_task"]


@dataclass(frozen=True)
class DistillationTask:
    """A frozen teacher on its device, its data, and its chain, plain and folded.

    `images` is the first batch of the training split, normalised. `training` is the data of the
    blockwise phases, and `dtype` the type that they compute in.
    """

    teacher: Teacher
    data: Dataset
    chain: nn.Sequential
    fused: nn.Sequential
    images: Tensor
    partitioner: str
    training: Dataset
    dtype: torch.dtype = torch.float32

    @property
    def feeding(self) -> nn.Sequential:
        """The folded chain that feeds blocks, under autocast where the run has one."""
        if self.dtype == torch.float32:
            return self.fused
        feeding = nn.Sequential()
        for name, segment in self.fused.named_children():
            feeding.add_module(name, autocast(segment, self.dtype))
        return feeding

    @property
    def device(self) -> torch.device:
        """The device of teacher and images."""
        return self.images.device

    def normalised(self, images: Tensor) -> Tensor:
        """Turn uint8 images into the teacher's input, on its device."""
        return normalise(images, self.teacher.mean, self.teacher.std, self.device)

    def fed(self, images: Tensor) -> Tensor:
        """Turn uint8 images into what `feeding` takes."""
        return self.normalised(images).to(self.dtype)


def build_task(
    config: RunConfig, registry: Registry, device: str, given: InMemoryInputs | None = None
) -> DistillationTask:
    """Load teacher and data, or take those given; check that they fit, cut the chain, check it."""
    teacher = given.teacher() if given else load_teacher(registry, config.teacher)
    own = given.data if given else None
    data = own or load_data(with_preprocessing(config.data, teacher.network))
    where = torch.device(device)
    dtype = pick_dtype(config.autocast, where)
    network = teacher.network.to(where)
    data = with_answers(data, teacher, where)
    _check_channels(teacher, data)
    first = data.train.images(torch.arange(min(config.batch_size, len(data.train))))
    images = normalise(first, teacher.mean, teacher.std, where)
    check_classes(network, data, images[:2])
    partitioner = pick_partitioner(registry, config.partitioner, network)
    chain = cut(partitioner, network, images[:2])
    fused = fuse_batchnorm(chain, images[:2])
    training = with_fixed_views(data, config.views, config.seed)
    return DistillationTask(teacher, data, chain, fused, images, partitioner.name, training, dtype)


def _check_channels(teacher: Teacher, data: Dataset) -> None:
    channels = data.image_shape[0]
    if not len(teacher.mean) == len(teacher.std) == channels:
        raise TeacherError(
            f"the data '{data.name}' has {channels} channels, but the teacher '{teacher.name}' is"
            f" normalised for {len(teacher.mean)}: choose other data, or give teacher.mean and"
            " teacher.std."
        )
