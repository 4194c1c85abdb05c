"""Descriptions and compression recipes of the zoo's models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.config.checks import LIMITS
from pbkd.config.load import load_config, merge_layer, read_overrides
from pbkd.config.options import option_types
from pbkd.config.schema import RunConfig
from pbkd.config.yaml_files import read_yaml
from pbkd.core.files import read_file
from pbkd.errors import ConfigError, TrustError
from pbkd.models.metrics import parameters
from pbkd.models.teacher import build_network, find_model
from pbkd.plugin.user_code import is_user_function, named_observers
from pbkd.zoo.card import read_card

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.config.schema import TargetConfig
    from pbkd.plugin.registry import Registry


__all__ = ["card_licence", "card_text", "compression_config", "describe"]


def describe(registry: Registry, name: str) -> str:
    """Return a description of a model: summary, parameters, options with defaults, card."""
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
    """Return the text of a card; raise `ConfigError` if it is not UTF-8."""
    try:
        return read_file(card).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"the card '{card}' is not UTF-8 text.") from error


def card_licence(registry: Registry, choice: Mapping[str, Any]) -> str | None:
    """Return the licence of a teacher's weights in the zoo; None for a user's own weights."""
    if choice.get("weights") or is_user_function(registry, choice["name"]):
        return None
    model, _ = find_model(registry, choice["name"])
    if not (model.weights and model.card):
        return None
    return read_card(model.card).licence


def compression_config(registry: Registry, name: str, overrides: Sequence[str]) -> RunConfig:
    """Return the configuration recorded for compressing a model, with overrides applied.

    Raises:
        ConfigError: If no recipe is recorded, or an override is wrong or changes the teacher.
        TrustError: If the recipe names an observer that the overrides do not.
    """
    model, _ = find_model(registry, name)
    if model.recipe is None:
        raise ConfigError(
            f"no recipe is recorded for '{name}': compress it with `pbkd run teacher={name}`."
        )
    typed = merge_layer(RunConfig(), read_overrides(overrides))
    config = load_config(overrides, file=_without_limits(model.recipe, typed.target))
    if config.teacher["name"] != name:
        raise ConfigError(
            f"'teacher' is '{config.teacher['name']}', but this is the recipe of '{name}': use"
            " `pbkd run` for another teacher."
        )
    for kind, observer, _ in named_observers(
        c for c in config.observers if c not in typed.observers
    ):
        raise TrustError(
            f"the recipe of '{name}' names the {kind} '{observer}', which only you can ask for: add"
            " observers=[NAME] with those that you want, or observers=[]."
        )
    for spec in config.plugins:
        registry.provided_by(spec)
    return config


def _without_limits(recipe: Path | Mapping[str, Any], target: TargetConfig) -> Mapping[str, Any]:
    """Leave out how a recipe limits the student's cost if there is a limit of the user's own."""
    tree = read_yaml(recipe) if isinstance(recipe, Path) else recipe
    keys = (*LIMITS, "curve")
    if all(getattr(target, key) is None for key in keys):
        return tree
    kept = {key: value for key, value in tree.items() if key not in ("builder", "candidates")}
    theirs = kept.get("target")
    if isinstance(theirs, Mapping):
        kept["target"] = {key: value for key, value in theirs.items() if key not in keys}
    return kept
