"""Models that can be teachers: what a zoo registers, and how a teacher is built from it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from pbkd.card import read_card
from pbkd.chain import freeze
from pbkd.config import load_config
from pbkd.errors import ConfigError, PbkdError, TeacherError, UnknownNameError
from pbkd.measure import parameters
from pbkd.options import first_line, option_types, typed_options
from pbkd.own import own_function
from pbkd.preprocessing import pretrained_cfg
from pbkd.weights import fit_weights, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pbkd.config import RunConfig
    from pbkd.registry import Registry

__all__ = [
    "Teacher",
    "ZooModel",
    "build_network",
    "card_licence",
    "card_text",
    "compression_config",
    "describe",
    "find_model",
    "is_own",
    "list_variants",
    "load_teacher",
    "own_maker",
]


@dataclass(frozen=True)
class ZooModel:
    """A network that can be built by name.

    `build` takes keyword options with defaults and returns the network with random weights; its
    signature is what `teacher.OPTION=VALUE` may set. `mean` and `std` normalise images in [0, 1].
    `input_shape` is (channels, height, width), or None where any size will do. `card` is a YAML
    file that records how shipped `weights` were made and how they score; `recipe` one of a run's
    configuration that compresses the model well.

    A family, such as `timm`, also has `variants`: `teacher=timm:NAME` then calls
    `build(variant=NAME, ...)`, and `variants()` lists the names.
    """

    name: str
    build: Callable[..., nn.Module]
    summary: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_shape: tuple[int, int, int] | None = None
    weights: Path | None = None
    card: Path | None = None
    variants: Callable[[], Sequence[str]] | None = None
    recipe: Path | None = None


@dataclass(frozen=True)
class Teacher:
    """A teacher, frozen, with the normalisation that its images need and its weights' origin."""

    name: str
    network: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str


@dataclass(frozen=True)
class _Own:
    """The options that every teacher has, beside those of its `build`."""

    weights: str | None = None
    mean: list[float] | None = None
    std: list[float] | None = None


def find_model(registry: Registry, name: str) -> tuple[ZooModel, dict[str, str]]:
    """Return the model called `name` and, for `family:variant`, the variant as an option.

    `module:function` is a network of the user's own: the module is imported.
    """
    if is_own(registry, name):
        function = own_function(name, registry.strategies["model"])
        return ZooModel(name, function, "a network of your own", mean=(), std=()), {}
    family, colon, variant = name.partition(":")
    model: ZooModel = registry.find("model", family)
    if bool(colon) != (model.variants is not None):
        wanted = f"'{family}:VARIANT'" if model.variants else f"'{family}' alone"
        raise UnknownNameError(f"'{name}' names no network: write {wanted}.")
    return model, {"variant": variant} if colon else {}


def is_own(registry: Registry, name: str) -> bool:
    """Say whether a name is that of a function, `module:function`, and of no model."""
    family, colon, _ = name.partition(":")
    return bool(colon) and family not in registry.strategies["model"]


def own_maker(registry: Registry, choice: Mapping[str, Any]) -> Callable[[], nn.Module] | None:
    """Return what makes the network of a `teacher` choice, if it is of the user's own."""
    own = is_own(registry, choice["name"])
    return partial(build_network, registry, choice) if own else None


def build_network(registry: Registry, choice: Mapping[str, Any]) -> nn.Module:
    """Build the network that a `teacher` choice names, without any trained weights."""
    untrained = {"pretrained": False} if "pretrained" in choice else {}
    return _build(registry, {**choice, **untrained})


def _build(registry: Registry, choice: Mapping[str, Any]) -> nn.Module:
    model, variant = find_model(registry, choice["name"])
    _, given = _split(choice)
    options = typed_options(model.build, {**variant, **given}, where="teacher")
    try:
        network = model.build(**options)
    except PbkdError:
        raise
    except Exception as error:
        raise TeacherError(
            f"the network '{choice['name']}' cannot be built with these options:"
            f" {first_line(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise TeacherError(f"'{choice['name']}' gives a {kind}, not a torch module.")
    return network


def _split(choice: Mapping[str, Any]) -> tuple[_Own, dict[str, Any]]:
    """Return the options that every teacher has, and those of the model's `build`."""
    given = {key: value for key, value in choice.items() if key != "name"}
    own = {f.name: given.pop(f.name) for f in fields(_Own) if f.name in given}
    return _Own(**typed_options(_Own, own, where="teacher")), given


def list_variants(registry: Registry, family: str) -> Sequence[str]:
    """Return the names that a family can build; raises `UnknownNameError` for a single model."""
    model: ZooModel = registry.find("model", family)
    if model.variants is None:
        raise UnknownNameError(f"'{family}' is one network, not a family of them.")
    return model.variants()


def describe(registry: Registry, name: str) -> str:
    """Return a few lines on a model: its options with their defaults, its size, its card."""
    model, variant = find_model(registry, name)
    network = build_network(registry, {"name": name})
    options = [
        f"  teacher.{option} = {default}"
        for option, (_, default) in option_types(model.build).items()
        if option not in variant
    ]
    lines = [
        f"{name}: {model.summary}",
        f"parameters: {parameters(network):,}",
        f"input: {'any' if model.input_shape is None else 'x'.join(map(str, model.input_shape))}",
        "options:",
        *(options or ["  none"]),
    ]
    if model.card and model.card.is_file():
        lines += ["card:", *("  " + line for line in card_text(model.card).splitlines())]
    return "\n".join(lines)


def card_text(card: Path) -> str:
    """Return what a card says; raises `ConfigError` where it is not text."""
    try:
        return card.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"the card '{card}' is not UTF-8 text.") from error


def card_licence(registry: Registry, choice: Mapping[str, Any]) -> str | None:
    """Return the licence of the weights that the zoo ships for a teacher, if it has those."""
    model, _ = find_model(registry, choice["name"])
    if choice.get("weights") or not (model.weights and model.card):
        return None
    return read_card(model.card).licence


def compression_config(registry: Registry, name: str, overrides: Sequence[str]) -> RunConfig:
    """Return the configuration that is recorded to compress a model well, overrides over it."""
    model, _ = find_model(registry, name)
    if model.recipe is None:
        raise ConfigError(
            f"no recipe is recorded for '{name}': compress it with `pbkd run teacher={name}`."
        )
    config = load_config(overrides, file=model.recipe)
    if config.teacher["name"] != name:
        raise ConfigError(
            f"'teacher' is '{config.teacher['name']}', but the recipe is that of '{name}': use"
            " `pbkd run` for another teacher."
        )
    for spec in config.plugins:
        registry.provided_by(spec)
    return config


def load_teacher(registry: Registry, choice: Mapping[str, Any]) -> Teacher:
    """Build the teacher with its weights, in evaluation mode and without gradients.

    The weights are `teacher.weights` (a file, or `random` on purpose), those that
    `teacher.pretrained=true` downloads, those that the zoo ships, or, of a network of the user's
    own, those that it is made with.
    """
    model, _ = find_model(registry, choice["name"])
    own, _ = _split(choice)
    source = own.weights or model.weights
    if source is None and choice.get("pretrained"):
        network, source = _build(registry, choice), "pretrained"
    else:
        network = build_network(registry, choice)
    if source is None and is_own(registry, choice["name"]):
        source = "its own"
    if source is None:
        raise TeacherError(
            f"the teacher '{choice['name']}' has no trained weights: give teacher.weights=FILE"
            + (", or teacher.pretrained=true to download them." if model.variants else ".")
        )
    if source not in ("random", "pretrained", "its own"):
        fit_weights(network, read_weights(Path(source)), source)
    mean, std = _normalisation(model, network, own)
    return Teacher(choice["name"], freeze(network), mean, std, str(source))


def _normalisation(
    model: ZooModel, network: nn.Module, own: _Own
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std: as given, else timm's `pretrained_cfg`, else the zoo's.

    Raises `ConfigError` where none of them says so.
    """
    cfg = pretrained_cfg(network)
    mean = own.mean or cfg.get("mean") or model.mean
    std = own.std or cfg.get("std") or model.std
    if not mean or not std:
        raise ConfigError(
            f"it is not known how '{model.name}' has its images normalised: give teacher.mean and"
            " teacher.std, a number for each channel ([0, 0, 0] and [1, 1, 1] for not at all)."
        )
    if not all(value > 0 for value in std):
        raise ConfigError(f"'teacher.std' is {list(std)}, but every value must be above 0.")
    return tuple(mean), tuple(std)
