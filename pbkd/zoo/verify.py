"""Verification of weights against their cards: checksum, size, accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pbkd.config.options import option_types
from pbkd.core.devices import pick_device
from pbkd.core.files import file_digest
from pbkd.data.load import load_data
from pbkd.errors import PbkdError, UnknownNameError, ZooError, did_you_mean
from pbkd.models.accuracy import accuracy
from pbkd.models.metrics import macs, parameters
from pbkd.models.student_files import RECIPE, read_recipe
from pbkd.models.student_loading import load_student
from pbkd.models.teacher import load_teacher
from pbkd.plugin.user_code import is_user_function
from pbkd.zoo.card import read_card
from pbkd.zoo.store import find_student, students

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.data.datasets import Dataset
    from pbkd.data.normalization import Normalization
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import ZooModel
    from pbkd.zoo.card import Card
    from pbkd.zoo.store import Entry


__all__ = ["Check", "verify"]


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: The model or plugin.
        what: What was checked.
        passed: None if the check could not be made.
        detail: The figure, or the reason.
    """

    name: str
    what: str
    passed: bool | None
    detail: str


@dataclass(frozen=True)
class _Network:
    network: nn.Module
    normalization: Normalization | None
    image_shape: tuple[int, int, int] | None


@dataclass(frozen=True)
class _Subject:
    """A model or student to verify, with functions that read its card and load its network."""

    name: str
    weights: Path
    card: Callable[[], Card]
    load: Callable[[], _Network]


def verify(
    registry: Registry, names: Sequence[str], data: Mapping[str, Any] | None = None
) -> Iterator[Check]:
    """Verify models and students.

    Args:
        registry: Provides the zoo's models.
        names: Models and students; empty for all that have weights and a card.
        data: Overrides of each card's data, such as the path of its files.

    Yields:
        The checks of each model, as they are made.

    Raises:
        UnknownNameError: If a name is neither a model nor a student.
        ZooError: If a model has no weights or no card.
    """
    subjects = [_subject(registry, name) for name in names] or _all(registry)
    for subject in subjects:
        yield from _checks(registry, subject, data or {})


def _all(registry: Registry) -> list[_Subject]:
    models = registry.strategies["model"].values()
    shipped = [_teacher(registry, model) for model in models if model.weights and model.card]
    return [*shipped, *map(_student, students())]


def _subject(registry: Registry, name: str) -> _Subject:
    models: dict[str, ZooModel] = registry.strategies["model"]
    if name in models:
        return _teacher(registry, models[name])
    entry = find_student(name)
    if entry is None:
        known = [*models, *(student.name for student in students())]
        raise UnknownNameError(f"unknown model or student '{name}'.{did_you_mean(name, known)}")
    return _student(entry)


def _teacher(registry: Registry, model: ZooModel) -> _Subject:
    if not model.weights or not model.card:
        raise ZooError(f"'{model.name}' has no weights with a card that could be verified.")

    def loaded() -> _Network:
        teacher = load_teacher(registry, {"name": model.name})
        return _Network(teacher.network, teacher.normalization, model.input_shape)

    return _Subject(model.name, model.weights, partial(read_card, model.card), loaded)


def _student(entry: Entry) -> _Subject:
    def card() -> Card:
        if entry.card is None:
            raise ZooError(str(entry.fault))
        return entry.card

    def loaded() -> _Network:
        recipe = read_recipe(entry.folder / RECIPE)
        return _Network(load_student(entry.folder), recipe.normalization, recipe.image_shape)

    return _Subject(entry.name, entry.weights, card, loaded)


def _checks(registry: Registry, subject: _Subject, override: Mapping[str, Any]) -> Iterator[Check]:
    """Yield the checks of one subject; one that raises fails and is the last."""
    check = partial(Check, subject.name)
    step = "card"
    try:
        card = subject.card()
        step = "checksum"
        yield check(step, *_compare(file_digest(subject.weights), card.sha256))
        step = "network"
        loaded = subject.load()
        yield check("parameters", *_compare(parameters(loaded.network), card.parameters))
        step = "data"
        data, missing = _data(registry, card, override)
        shape = loaded.image_shape or (data.image_shape if data else None)
        if data and data.image_shape != shape:
            raise ZooError(
                f"the data has images of {data.image_shape}, but the network takes {shape}."
            )
        count = macs(loaded.network, shape) if shape else None
        yield check("MACs", *(_compare(count, card.macs) if shape else (None, missing)))
        step = "accuracy"
        yield check(step, *(_accuracy(loaded, data, card) if data else (None, missing)))
    except PbkdError as error:
        yield check(step, False, str(error))
    except OSError as error:
        yield check(step, False, f"the weights cannot be read: {error}.")


def _compare(actual: object, recorded: object) -> tuple[bool | None, str]:
    if recorded is None:
        return None, "not on the card"
    shown = f"{actual:,}" if isinstance(actual, int) else str(actual)
    passed = actual == recorded
    return passed, shown if passed else f"{shown}, but the card has {recorded}"


def _data(
    registry: Registry, card: Card, override: Mapping[str, Any]
) -> tuple[Dataset | None, str]:
    """Load the card's data, or return the reason why not.

    A card's own path is ignored: it belongs to the machine on which the card was written.
    """
    if card.data is None:
        return None, "no data on the card"
    renamed = override.get("name", card.data["name"]) != card.data["name"]
    choice = {**({} if renamed else card.data), **override}
    if (
        is_user_function(registry, choice["name"], "data")
        and choice["name"] not in registry.functions
    ):
        return None, "data not available (it was given by a function of the card's author)"
    source = registry.strategies["data"].get(choice["name"])
    has_path = source is not None and "path" in option_types(source)
    if has_path and "path" not in override:
        return None, "data not available (set data.path=FILE)"
    if not has_path:
        choice.pop("path", None)
    choice.pop("download", None)
    return load_data(choice, registry), ""


def _accuracy(loaded: _Network, data: Dataset, card: Card) -> tuple[bool | None, str]:
    if card.test is None:
        return None, "not on the card"
    if not data.labelled:
        return None, "the data has no labels"
    if loaded.normalization is None:
        return None, "the normalisation of its images is unknown"
    device = pick_device("auto")
    network = loaded.network.to(device)
    score = accuracy(network, data.test, loaded.normalization, device=device)
    # Kernels differ between machines in the order of summation, so that an image close to a
    # decision boundary may change its class: allow 1 in 1,000, and at least 1.
    images = max(1, len(data.test) // 1000)
    passed = abs(score - card.test) * len(data.test) <= images + 0.5
    text = f"{100 * score:.2f} % of {len(data.test):,} test images"
    return passed, text if passed else f"{text}, but the card has {100 * card.test:.2f} %"
