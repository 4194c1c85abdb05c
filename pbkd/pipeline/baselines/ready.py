"""Networks that are ready: smaller ones of the zoo, for the same data, with weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pbkd.errors import ConfigError, PbkdError, one_line
from pbkd.models.metrics import macs
from pbkd.models.teacher import load_teacher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pbkd.models.teacher import Teacher
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask


__all__ = ["ready_network", "zoo_networks"]

_LIKE = 1.1  # of the student's MACs


def ready_network(
    registry: Registry, task: DistillationTask, most_macs: int, choice: Mapping[str, Any] | None
) -> Teacher:
    """Load the network that was named, or the zoo's that is nearest to the student in size.

    Args:
        registry: The plugins.
        task: The run's teacher and data, whose input and classes the network must have.
        most_macs: The student's MACs, of which a network that was not named has at most 1.1 times
            as many.
        choice: Name, `weights` and options of a network, like a teacher's; None to choose.

    Returns:
        The network, on the task's device.

    Raises:
        ConfigError: If there is none, or the one that was named cannot be loaded or has other
            classes.
    """
    if choice is not None:
        registry.functions.add(choice["name"])
        try:
            network = _on_device(load_teacher(registry, choice), task)
        except PbkdError as error:
            raise ConfigError(
                f"the ready network cannot be loaded ({one_line(error)}): its options are"
                " ready.weights=FILE and so on."
            ) from error
        if not _fits(network, task):
            raise ConfigError(
                f"the network '{choice['name']}' does not turn images of"
                f" {_shape(task)} into logits of {task.data.num_classes} classes, as ready=NAME"
                " must."
            )
        return network
    found = [*zoo_networks(registry, task, most_macs)]
    if not found:
        raise ConfigError(
            f"no ready network has input {_shape(task)}, {task.data.num_classes} classes, weights"
            f" in the zoo and at most {_LIKE:g} times the student's MACs: name one by ready=NAME"
            " ready.weights=FILE, or leave out --against ready."
        )
    return max(found, key=lambda one: macs(one.network, task.data.image_shape))


def zoo_networks(registry: Registry, task: DistillationTask, most_macs: int) -> Iterator[Teacher]:
    """Yield the networks of the zoo that fit the data, other than the teacher.

    Args:
        registry: The plugins.
        task: The run's teacher and data, whose input and number of classes they have.
        most_macs: MACs of a network, of which they have at most 1.1 times as many.
    """
    for name, model in registry.strategies["model"].items():
        if not model.weights or name == task.teacher.name:
            continue
        if model.input_shape is None or tuple(model.input_shape) != tuple(task.data.image_shape):
            continue
        try:
            network = _on_device(load_teacher(registry, {"name": name}), task)
        except PbkdError:  # its weights are damaged or missing
            continue
        if not _fits(network, task):
            continue
        if macs(network.network, task.data.image_shape) <= _LIKE * most_macs:
            yield network


def _on_device(network: Teacher, task: DistillationTask) -> Teacher:
    network.network.to(task.device).to(memory_format=torch.channels_last)
    return network


@torch.no_grad()
def _fits(network: Teacher, task: DistillationTask) -> bool:
    try:
        logits = network.network(task.images[:2])
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False
    return isinstance(logits, torch.Tensor) and logits.shape == (2, task.data.num_classes)


def _shape(task: DistillationTask) -> str:
    return "x".join(map(str, task.data.image_shape))
