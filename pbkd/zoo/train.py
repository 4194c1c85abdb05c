"""Train a network: a zoo model by the recipe on its card, or the user's own, from any weights."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from pbkd.config.schema import RunConfig
from pbkd.config.yaml_values import dump
from pbkd.core.devices import pick_device
from pbkd.core.events import Note, PhaseStarted
from pbkd.core.files import file_digest, write_file
from pbkd.core.process import keep_freed_memory
from pbkd.core.seeding import derive_seed
from pbkd.data.augmentation_choice import with_augmentation
from pbkd.data.batching import steps_per_epoch
from pbkd.data.preparation import describe_preparation
from pbkd.errors import ConfigError
from pbkd.models.accuracy import accuracy
from pbkd.models.classes import fit_classes
from pbkd.models.metrics import macs, parameters
from pbkd.models.precision import pick_dtype, precision_note
from pbkd.models.teacher import declared_teacher, find_model, load_untrained
from pbkd.models.weights import fit_weights, halved, read_weights, write_weights
from pbkd.training.finetune import train_network
from pbkd.training.inputs import fit_inputs
from pbkd.training.optimisation import create_optimisation
from pbkd.training.optimisation_check import check_optimiser, check_schedule
from pbkd.training.training_events import TrainingEvents
from pbkd.training.training_hooks import TrainingHooks
from pbkd.training.training_settings import TrainingSettings
from pbkd.zoo.provenance import override_words
from pbkd.zoo.training_recipe import has_trained_weights, resolved, training_recipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.core.events import Emit
    from pbkd.data.datasets import Dataset
    from pbkd.models.teacher import Teacher
    from pbkd.plugin.registry import Registry
    from pbkd.training.inputs import FittedInputs
    from pbkd.training.throughput import Pace
    from pbkd.zoo.training_recipe import ResolvedRecipe, TrainConfig


__all__ = ["Trained", "train_model"]

_PHASE = "training"
_LONG_TRAINING = 100_000  # images, over all epochs


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What `train_model` has written.

    Attributes:
        card: The path of the card.
        weights: The path of the weights.
        validation: Accuracy on the validation split, 0 to 1.
        test: Accuracy on the test split, 0 to 1.
        test_images: Images of the test split.
        command: The command that compresses the network.
    """

    card: Path
    weights: Path
    validation: float
    test: float
    test_images: int
    command: str


def train_model(
    registry: Registry,
    name: str,
    overrides: Sequence[str],
    out: Path,
    emit: Emit = lambda _event: None,
) -> Trained:
    """Train a network; write its weights and a card.

    It starts from the weights that `teacher.weights` or `teacher.pretrained` name, or that the
    user's function returns; else from random ones. The state that scores best on the validation
    split is kept, the start included; the test split is used for the card alone. Weights are
    written in half precision, and the card has their figures.

    Args:
        registry: Where models are registered.
        name: The model's name, or `module:function`.
        overrides: `key=value` settings that override the card's recipe.
        out: The folder for weights and card; a colon in the name becomes a hyphen.
        emit: Gets notes and the progress.

    Raises:
        ConfigError: If a setting is invalid, or the data has no labels.
        TeacherError: If the network does not fit the data.
    """
    keep_freed_memory()
    recipe = _typed_recipe(registry, name, overrides)
    device = torch.device(pick_device(recipe.device))
    loaded = _initial_network(registry, name, recipe)
    is_trained = has_trained_weights(registry, recipe.teacher, loaded)
    inputs = fit_inputs(loaded, recipe.data, registry)
    config = resolved(recipe, inputs.data, is_trained=is_trained)
    settings, teacher = _settings(registry, config, inputs.data, device), inputs.teacher
    network = teacher.network.to(device)
    data = _fitted_data(network, inputs)
    data = with_augmentation(data, config.augmentation, config.data, registry)
    for note in _notes(inputs, settings, device):
        emit(Note(text=note))
    network.to(memory_format=torch.channels_last)
    hooks = _hooks(name, settings, data, emit)
    if is_trained:
        hooks = replace(hooks, initial_score=_initial_score(teacher, data, config, emit))
    best = train_network(network, data, teacher.normalization, settings, hooks=hooks)
    if not best.epoch:
        emit(Note(text="No epoch was better than the start, whose weights are kept."))
    command = shlex.join(["pbkd", "zoo", "train", name, *overrides])
    summary = find_model(registry, name)[0].summary
    facts = {"name": name, "summary": summary, "licence": config.licence, "command": command}
    emit(PhaseStarted(phase="evaluation"))
    return _write(out / name.replace(":", "-"), teacher, data, config, facts)


def _write(
    stem: Path, teacher: Teacher, data: Dataset, config: ResolvedRecipe, facts: dict[str, Any]
) -> Trained:
    """Write the weights and their card."""
    weights = _write_halved(teacher.network, stem.with_name(f"{stem.name}.safetensors"))
    figures = _figures(teacher, data)
    card = {
        **facts,
        "recipe": {key: value for key, value in asdict(config).items() if key != "licence"},
        **figures,
        "sha256": file_digest(weights),
    }
    path = stem.with_name(f"{stem.name}.yaml")
    write_file(path, dump(card).encode())
    return Trained(
        card=path,
        weights=weights,
        **figures["accuracy"],
        test_images=len(data.test),
        command=_compression_command(config, weights),
    )


def _typed_recipe(registry: Registry, name: str, overrides: Sequence[str]) -> TrainConfig:
    model, _ = find_model(registry, name)
    recipe = training_recipe(model, name, overrides)
    return replace(recipe, teacher=declared_teacher(registry, recipe.teacher))


def _initial_network(registry: Registry, name: str, config: TrainConfig) -> Teacher:
    """Build the network; random weights depend on seed and name alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "teacher", name))
        return load_untrained(registry, config.teacher)


def _settings(
    registry: Registry, config: ResolvedRecipe, data: Dataset, device: torch.device
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


def _fitted_data(network: nn.Module, inputs: FittedInputs) -> Dataset:
    """Check that data and network fit; return the data with the network's classes."""
    data = inputs.data
    if not data.labelled:
        raise ConfigError(f"the data '{data.name}' has no labels, by which a teacher is trained.")
    device = next(network.parameters()).device
    image = inputs.teacher.normalization.apply(data.train.images(torch.arange(1)), device)
    return fit_classes(network.eval(), data, image)


def _notes(inputs: FittedInputs, settings: TrainingSettings, device: torch.device) -> list[str]:
    """Say how images and weights were taken, and how they are trained on."""
    optimisation = settings.optimisation
    long = settings.epochs * len(inputs.data.train) > _LONG_TRAINING
    precision = precision_note(settings.dtype, device, long=long)
    return [
        describe_preparation(inputs.preparation),
        *inputs.teacher.notes,
        *inputs.data.notes,
        *([precision] if precision else []),
        f"Training: {len(inputs.data.train):,} images, {settings.epochs} epoch(s) in batches of"
        f" {settings.batch_size}, {optimisation.optimiser.name}, learning rate {optimisation.lr}.",
    ]


def _initial_score(teacher: Teacher, data: Dataset, config: TrainConfig, emit: Emit) -> float:
    """Score the weights that the training starts from."""
    emit(PhaseStarted(phase="evaluation"))
    device = next(teacher.network.parameters()).device
    score = accuracy(teacher.network, data.validation, teacher.normalization, device=device)
    weights = {"its own": f"{config.teacher['name']} itself"}.get(teacher.weights, teacher.weights)
    emit(
        Note(
            text=f"It starts from the weights of {weights}: {100 * score:.2f} % of"
            f" {len(data.validation):,} validation images."
        )
    )
    return score


def _hooks(name: str, settings: TrainingSettings, data: Dataset, emit: Emit) -> TrainingHooks:
    """Report the training as events."""

    events = TrainingEvents(
        emit=emit,
        phase=_PHASE,
        network=name,
        epochs=settings.epochs,
        images=min(settings.batch_size, len(data.train)),
    )

    def start_pace(begun: int, steps: int) -> Pace:
        emit(PhaseStarted(phase=_PHASE))
        return events.start_pace(begun, steps)

    return TrainingHooks(events.epoch_finished, start_pace=start_pace)


def _write_halved(network: nn.Module, path: Path) -> Path:
    """Write weights in half precision, and give the network the weights as written."""
    write_weights(path, halved(network.state_dict()))
    fit_weights(network, read_weights(path), path)
    return path


def _figures(teacher: Teacher, data: Dataset) -> dict[str, Any]:
    """Measure the figures of a card."""
    network = teacher.network
    device = next(network.parameters()).device
    scores = {
        split: accuracy(network, getattr(data, split), teacher.normalization, device=device)
        for split in ("validation", "test")
    }
    return {
        "accuracy": scores,
        "parameters": parameters(network),
        "macs": macs(network, data.image_shape),
    }


def _compression_command(config: TrainConfig, weights: Path) -> str:
    """Return the command that compresses the trained network on the same data."""
    teacher = {key: value for key, value in config.teacher.items() if key != "pretrained"}
    choices = {"teacher": {**teacher, "weights": str(weights)}, "data": config.data}
    return shlex.join(["pbkd", "run", *override_words(choices, asdict(RunConfig()))])
