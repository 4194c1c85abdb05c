"""What host and workers need before they start: teacher, data, chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pbkd.answers import with_answers
from pbkd.blame import failure_of, named
from pbkd.chain import check_chain, fold
from pbkd.data import normalise
from pbkd.errors import (
    PLUGIN_FAILURES,
    ChainError,
    ConfigError,
    PbkdError,
    PluginError,
    TeacherError,
    did_you_mean,
)
from pbkd.failure import out_of_memory
from pbkd.options import chosen, first_line, typed_options
from pbkd.precision import autocast, pick_dtype
from pbkd.preprocessing import with_preprocessing
from pbkd.sources import SOURCES
from pbkd.views import with_views
from pbkd.weights import fingerprint
from pbkd.zoo import Teacher, load_teacher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.config import RunConfig
    from pbkd.data import Dataset
    from pbkd.given import Given
    from pbkd.protocols import Partitioner
    from pbkd.registry import Registry

__all__ = [
    "Prepared",
    "check_classes",
    "cut",
    "load_data",
    "pick_device",
    "pick_partitioner",
    "prepare",
]


@dataclass(frozen=True)
class Prepared:
    """A frozen teacher on its device, its data, and its chain, plain and folded.

    `images` is the first batch of the training split, normalised. `training` is the data of the
    blockwise phases, and `dtype` the type that they compute in.
    """

    teacher: Teacher
    data: Dataset
    chain: nn.Sequential
    folded: nn.Sequential
    images: Tensor
    partitioner: str
    training: Dataset
    dtype: torch.dtype = torch.float32

    @property
    def feeding(self) -> nn.Sequential:
        """The folded chain that feeds blocks, under autocast where the run has one."""
        if self.dtype == torch.float32:
            return self.folded
        feeding = nn.Sequential()
        for name, segment in self.folded.named_children():
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


def prepare(
    config: RunConfig, registry: Registry, device: str, given: Given | None = None
) -> Prepared:
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
    folded = fold(chain, images[:2])
    training = with_views(data, config.views, config.seed)
    return Prepared(teacher, data, chain, folded, images, partitioner.name, training, dtype)


def load_data(choice: Mapping[str, Any]) -> Dataset:
    """Load the data source that a `data` choice names."""
    name = choice["name"]
    if name not in SOURCES:
        raise ConfigError(f"unknown data source '{name}'.{did_you_mean(name, SOURCES)}")
    given = {key: value for key, value in choice.items() if key != "name"}
    source = SOURCES[name](**typed_options(SOURCES[name], given, where="data"))
    return source.load()


def pick_device(wanted: str) -> str:
    """Turn `auto` into the accelerator's type, or cpu; raise `ConfigError` for a missing one."""
    if wanted == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found.type if found else "cpu"
    missing = (wanted == "cuda" and not torch.cuda.is_available()) or (
        wanted == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ConfigError(f"'device' is {wanted}, which this machine does not have: use cpu.")
    return wanted


def pick_partitioner(
    registry: Registry, choice: Mapping[str, Any], network: nn.Module
) -> Partitioner:
    """Return the partitioner that the choice names, or for `auto` the first that accepts.

    Those that say `fallback = True` are asked after all others.
    """
    if choice["name"] != "auto":
        named: Partitioner = chosen(registry, "partitioner", choice)
        return named
    options = {key: value for key, value in choice.items() if key != "name"}
    strategies = registry.strategies["partitioner"].items()
    for name, strategy in sorted(strategies, key=lambda item: getattr(item[1], "fallback", False)):
        if _accepts(strategy, network):
            found: Partitioner = chosen(registry, "partitioner", {"name": name, **options})
            return found
    known = ", ".join(registry.strategies["partitioner"])
    raise ChainError(
        f"no partitioner knows the network {type(network).__name__} (asked: {known}): write one"
        " as a plugin and choose it with partitioner=NAME."
    )


def cut(partitioner: Partitioner, network: nn.Module, images: Tensor) -> nn.Sequential:
    """Return the partitioner's chain, checked on `images`; raises `ChainError`.

    Raises `PluginError` where the partitioner changes the network.
    """
    before = _state(network)
    try:
        chain = _checked_chain(partitioner, network, images)
    except PbkdError:
        raise
    except PLUGIN_FAILURES as error:
        if out_of_memory(error):
            raise
        where = f"partition on {type(network).__name__}"
        raise ChainError(f"{failure_of('partitioner', partitioner, where, error)}.") from error
    if _state(network) != before:
        raise PluginError(
            f"{named('partitioner', partitioner)} changes the teacher in partition: choose another"
            " one with partitioner=NAME."
        )
    return chain


def _checked_chain(partitioner: Partitioner, network: nn.Module, images: Tensor) -> nn.Sequential:
    chain = partitioner.partition(network)
    try:
        check_chain(network, chain, images)
    except ChainError as error:
        raise ChainError(f"{named('partitioner', partitioner)} cuts wrongly: {error}") from error
    return chain


def _state(network: nn.Module) -> tuple[str, list[bool]]:
    """Return all of a network that a partitioner must leave alone: weights and modes."""
    return fingerprint(network), [module.training for module in network.modules()]


def _accepts(strategy: type[Partitioner], network: nn.Module) -> bool:
    try:
        return strategy().accepts(network)
    except PLUGIN_FAILURES as error:
        where = f"accepts on {type(network).__name__}"
        raise PluginError(
            f"{failure_of('partitioner', strategy, where, error)}: choose one with"
            " partitioner=NAME."
        ) from error


def _check_channels(teacher: Teacher, data: Dataset) -> None:
    channels = data.image_shape[0]
    if not len(teacher.mean) == len(teacher.std) == channels:
        raise TeacherError(
            f"the data '{data.name}' has {channels} channels, but the teacher '{teacher.name}' is"
            f" normalised for {len(teacher.mean)}: choose other data, or give teacher.mean and"
            " teacher.std."
        )


@torch.no_grad()
def check_classes(network: nn.Module, data: Dataset, images: Tensor) -> None:
    """Raise `TeacherError` unless a network takes these images and gives a logit per class.

    Without labels any number of classes will do.
    """
    shape = tuple(data.image_shape)
    try:
        logits = network(images)
    except Exception as error:  # a network may check its input in ways of its own
        if out_of_memory(error):
            raise
        raise TeacherError(
            f"the teacher cannot take images of shape {shape} from '{data.name}':"
            f" {first_line(error)}"
        ) from error
    if not isinstance(logits, Tensor):
        raise TeacherError(f"the teacher gives {type(logits).__name__}, not one tensor of logits.")
    if logits.ndim != 2 or data.num_classes not in (None, logits.shape[1]):
        wanted = (
            f"'{data.name}' has {data.num_classes} classes"
            if data.labelled
            else "a class each is needed"
        )
        raise TeacherError(
            f"the teacher gives outputs of shape {tuple(logits.shape[1:])}, but {wanted}."
        )
