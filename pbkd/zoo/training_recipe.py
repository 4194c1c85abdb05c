"""The recipe of a training: what a card, the user and the start leave open gets its value here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from pbkd.config.checks import ABOVE_ZERO, check_values
from pbkd.config.load import merge_layer, read_overrides
from pbkd.config.yaml_files import read_yaml
from pbkd.errors import ConfigError
from pbkd.models.teacher import build_network
from pbkd.pipeline.resolve import epochs_of_steps
from pbkd.plugin.user_code import is_user_function

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.data.datasets import Dataset
    from pbkd.models.teacher import Teacher
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import ZooModel


__all__ = ["ResolvedRecipe", "TrainConfig", "has_trained_weights", "resolved", "training_recipe"]

_EPOCHS_FROM_RANDOM, _STEPS_FROM_TRAINED = 60, 600
_LR_FROM_RANDOM, _LR_FROM_TRAINED = 0.003, 0.00003
_BOUNDS = {
    "epochs": (1, math.inf),
    "lr": (ABOVE_ZERO, math.inf),
    "weight_decay": (0, math.inf),
    "batch_size": (2, math.inf),  # BatchNorm needs two
}


@dataclass
class TrainConfig:
    """A recipe: the network and its options, the data, and how long and how fast to train."""

    teacher: dict[str, Any]
    """The network to train and its options, as in a run's configuration."""
    data: dict[str, Any] = field(default_factory=lambda: {"name": "digits"})
    augmentation: dict[str, Any] = field(default_factory=lambda: {"name": "source"})
    epochs: int | None = None
    """null: 60 from random weights; from trained ones about 600 steps, at least one epoch."""
    optimiser: dict[str, Any] = field(default_factory=lambda: {"name": "adamw"})
    lr: float | None = None
    """null: 0.003 from random weights, 0.00003 from trained ones."""
    schedule: dict[str, Any] = field(default_factory=lambda: {"name": "cosine"})
    weight_decay: float = 0.05
    batch_size: int = 64
    seed: int = 0
    device: str = "auto"
    autocast: str = "none"
    """none, bf16 or fp16: the type to train in; accuracy is measured in full precision."""
    licence: str | None = None
    """Licence of the weights, for the card."""


@dataclass
class ResolvedRecipe(TrainConfig):
    """A recipe that leaves nothing open."""

    epochs: int = _EPOCHS_FROM_RANDOM
    lr: float = _LR_FROM_RANDOM


def training_recipe(model: ZooModel, name: str, overrides: Sequence[str]) -> TrainConfig:
    """Return the recipe on the model's card, if it has one, with the overrides over it.

    Args:
        model: The network's entry in the zoo.
        name: The model's name, or `module:function`.
        overrides: `key=value` settings.

    Raises:
        ConfigError: The card or an override says what cannot be.
    """
    config = TrainConfig(teacher={"name": name})
    if model.card and model.card.is_file():
        recipe = read_yaml(model.card).get("recipe", {})
        if not isinstance(recipe, dict):
            raise ConfigError(f"the recipe in the card '{model.card}' is no mapping of keys.")
        config = merge_layer(config, recipe)
    config = merge_layer(config, read_overrides(overrides))
    check_values(config, _BOUNDS)
    if config.teacher["name"] != name:
        raise ConfigError(
            f"'teacher' is '{config.teacher['name']}', but '{name}' is to be trained."
        )
    return config


def resolved(config: TrainConfig, data: Dataset, *, is_trained: bool) -> ResolvedRecipe:
    """Fill in the epochs and the learning rate that a recipe leaves open.

    Args:
        config: The recipe.
        data: The images.
        is_trained: Whether the training starts from trained weights.
    """
    epochs, lr = config.epochs, config.lr
    if epochs is None:
        epochs = _EPOCHS_FROM_RANDOM
        if is_trained:
            epochs = epochs_of_steps(_STEPS_FROM_TRAINED, len(data.train), config.batch_size)
    if lr is None:
        lr = _LR_FROM_TRAINED if is_trained else _LR_FROM_RANDOM
    return ResolvedRecipe(**{**vars(config), "epochs": epochs, "lr": lr})


def has_trained_weights(registry: Registry, choice: Mapping[str, Any], loaded: Teacher) -> bool:
    """Tell whether a network was trained before.

    A user's function may return a new network or a trained one, perhaps with a new head. Weights
    that it draws differ from call to call.

    Args:
        registry: Where models are registered.
        choice: The recipe's `teacher`.
        loaded: The network.
    """
    if loaded.weights != "its own":
        return loaded.weights != "random"
    assert is_user_function(registry, choice["name"]), "only functions bring weights of their own"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(-1)
        other = build_network(registry, choice).state_dict()
    return any(
        name in other and torch.equal(tensor.cpu(), other[name].float().cpu())
        for name, tensor in loaded.network.named_parameters()
        if tensor.dim() > 1 and bool((tensor != tensor.flatten()[0]).any())
    )
