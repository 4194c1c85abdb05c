"""Train a zoo model from scratch, by the recipe on its card."""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from pbkd.config.checks import ABOVE_ZERO, check_values
from pbkd.config.load import merge_layer, read_overrides
from pbkd.config.yaml_files import read_yaml
from pbkd.config.yaml_values import dump
from pbkd.core.devices import pick_device
from pbkd.core.files import file_digest, write_file
from pbkd.core.process import keep_freed_memory
from pbkd.core.seeding import derive_seed
from pbkd.data.augmentation_choice import with_augmentation
from pbkd.data.batching import steps_per_epoch
from pbkd.data.load import load_data
from pbkd.data.normalization import Normalization
from pbkd.errors import ConfigError, TeacherError
from pbkd.models.accuracy import accuracy
from pbkd.models.classes import fit_classes
from pbkd.models.metrics import macs, parameters
from pbkd.models.precision import pick_dtype
from pbkd.models.teacher import build_network, find_model
from pbkd.models.weights import fit_weights, halved, read_weights, write_weights
from pbkd.training.finetune import TrainingHooks, TrainingSettings, train_network
from pbkd.training.optimisation import create_optimisation
from pbkd.training.optimisation_check import check_optimiser, check_schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.data.datasets import Dataset
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import ZooModel


__all__ = ["TrainConfig", "train_model", "training_recipe"]

_BOUNDS = {
    "epochs": (1, math.inf),
    "lr": (ABOVE_ZERO, math.inf),
    "weight_decay": (0, math.inf),
    "batch_size": (2, math.inf),  # BatchNorm needs two
}


@dataclass
class TrainConfig:
    """A recipe: the model's options, the data, and how long and how fast to train."""

    model: dict[str, Any]
    data: dict[str, Any] = field(default_factory=lambda: {"name": "digits"})
    augmentation: dict[str, Any] = field(default_factory=lambda: {"name": "source"})
    epochs: int = 60
    optimiser: dict[str, Any] = field(default_factory=lambda: {"name": "adamw"})
    lr: float = 0.003
    schedule: dict[str, Any] = field(default_factory=lambda: {"name": "cosine"})
    weight_decay: float = 0.05
    batch_size: int = 64
    seed: int = 0
    device: str = "auto"
    autocast: str = "none"
    """none, bf16 or fp16: the type to train in; accuracy is measured in full precision."""
    licence: str | None = None
    """Licence of the weights, for the card."""


def train_model(
    registry: Registry,
    name: str,
    overrides: Sequence[str],
    out: Path,
    epoch_finished: Callable[[int, float, float], None],
) -> Path:
    """Train a model by its card's recipe; write its weights and a new card.

    The epoch that scores best on the validation split is kept; the test split is used for the card
    alone. Weights are written in half precision, and the card has the figures of these.

    Args:
        registry: Where models are registered.
        name: The model's name.
        overrides: `key=value` settings that override the recipe.
        out: The folder that gets `NAME.safetensors` and `NAME.yaml`.
        epoch_finished: Gets the epoch, from 0, its mean loss and its validation score.

    Returns:
        The path of the card.

    Raises:
        ConfigError: If a setting is invalid, or the data has no labels.
        TeacherError: If the model does not fit the data.
    """
    keep_freed_memory()
    model, _ = find_model(registry, name)
    config = training_recipe(model, name, overrides)
    data = load_data(config.data, registry)
    device = torch.device(pick_device(config.device))
    settings = _settings(registry, config, data, device)
    normalization = Normalization(tuple(model.mean), tuple(model.std))
    network = _initial_network(registry, name, config).to(device)
    data = _fitted_data(name, network, data, normalization)
    data = with_augmentation(data, config.augmentation, config.data, registry)
    network.to(memory_format=torch.channels_last)
    train_network(network, data, normalization, settings, hooks=TrainingHooks(epoch_finished))
    weights = _write_halved(network, out / f"{name}.safetensors")
    card = {
        "name": name,
        "summary": model.summary,
        "licence": config.licence,
        "command": shlex.join(["pbkd", "zoo", "train", name, *overrides]),
        "recipe": {key: value for key, value in asdict(config).items() if key != "licence"},
        **_figures(network, data, normalization),
        "sha256": file_digest(weights),
    }
    write_file(out / f"{name}.yaml", dump(card).encode())
    return out / f"{name}.yaml"


def _write_halved(network: nn.Module, path: Path) -> Path:
    """Write weights in half precision, and give the network the weights as written."""
    write_weights(path, halved(network.state_dict()))
    fit_weights(network, read_weights(path), path)
    return path


def _settings(
    registry: Registry, config: TrainConfig, data: Dataset, device: torch.device
) -> TrainingSettings:
    optimisation = create_optimisation(registry, config)
    check_optimiser(optimisation.optimiser, optimisation.weight_decay, device)
    steps = config.epochs * steps_per_epoch(data.train, config.batch_size)
    check_schedule(optimisation.schedule, steps)
    return TrainingSettings(
        epochs=config.epochs,
        optimisation=optimisation,
        batch_size=config.batch_size,
        seed=config.seed,
        dtype=pick_dtype(config.autocast, device),
    )


def _figures(network: nn.Module, data: Dataset, normalization: Normalization) -> dict[str, Any]:
    """Measure the figures of a card."""
    device = next(network.parameters()).device
    scores = {
        split: accuracy(network, getattr(data, split), normalization, device=device)
        for split in ("validation", "test")
    }
    return {
        "accuracy": scores,
        "parameters": parameters(network),
        "macs": macs(network, data.image_shape),
    }


def _initial_network(registry: Registry, name: str, config: TrainConfig) -> nn.Module:
    """Build the network with random weights that depend on seed and name alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "teacher", name))
        return build_network(registry, config.model)


def _fitted_data(
    name: str, network: nn.Module, data: Dataset, normalization: Normalization
) -> Dataset:
    """Check that data and network fit; return the data with the network's classes."""
    if not data.labelled:
        raise ConfigError(f"the data '{data.name}' has no labels, by which a teacher is trained.")
    if len(normalization.mean) != data.image_shape[0]:
        raise TeacherError(
            f"'{name}' takes images of {len(normalization.mean)} channels, but '{data.name}' has"
            f" {data.image_shape[0]}: choose other data."
        )
    device = next(network.parameters()).device
    image = normalization.apply(data.train.images(torch.arange(1)), device)
    return fit_classes(network.eval(), data, image)


def training_recipe(model: ZooModel, name: str, overrides: Sequence[str]) -> TrainConfig:
    """Return the recipe on the model's card, if it has one, with the overrides over it.

    Raises `ConfigError` where the card or an override says what cannot be.
    """
    config = TrainConfig(model={"name": name})
    if model.card and model.card.is_file():
        recipe = read_yaml(model.card).get("recipe", {})
        if not isinstance(recipe, dict):
            raise ConfigError(f"the recipe in the card '{model.card}' is no mapping of keys.")
        config = merge_layer(config, recipe)
    config = merge_layer(config, read_overrides(overrides))
    check_values(config, _BOUNDS)
    if config.model["name"] != name:
        raise ConfigError(f"'model' is '{config.model['name']}', but '{name}' is to be trained.")
    for key in ("weights", "mean", "std"):
        if key in config.model:
            raise ConfigError(
                f"'model.{key}' cannot be set: '{name}' is trained from random weights, on images"
                " normalised as its zoo says."
            )
    return config
