"""Configurations from files, whose code runs only if the user typed it or vouches for the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from pbkd.config.load import load_config, merge_layer, read_overrides
from pbkd.config.schema import RunConfig
from pbkd.core.files import user_path
from pbkd.errors import ConfigError, TrustError
from pbkd.pipeline.own_runs import recall_code
from pbkd.plugin.registry import build_registry
from pbkd.plugin.selection import selection_notes
from pbkd.plugin.user_code import named_observers, named_plugins, other_code
from pbkd.runs.configuration import configuration_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pbkd.plugin.registry import Registry
    from pbkd.plugin.user_code import Code


__all__ = ["is_vouched_for", "open_config", "open_run"]


@dataclass(frozen=True)
class _Origin:
    """A file that is data, unless its code is known.

    Attributes:
        file: The file.
        to_trust: What the user would vouch for: the file, or its run folder.
        trust: What the user vouches for.
        known: Code that it may name.
    """

    file: Path
    to_trust: Path
    trust: Sequence[Path]
    known: Collection[Code] = ()


def open_config(
    overrides: Sequence[str] = (),
    *,
    file: Path | None = None,
    plugins: Sequence[str] = (),
    trust: Sequence[Path] = (),
) -> tuple[RunConfig, Registry]:
    """Load a configuration and its plugins.

    Args:
        overrides: `key=value` pairs that the user typed; the code that they name runs.
        file: A YAML file. Code that it names runs if the user typed it too, or vouches for it.
        plugins: The plugins that the user typed.
        trust: Files, and folders of files, that the user vouches for.

    Returns:
        The configuration, and the plugins; `functions` has its teacher and data, if those may be
        imported.

    Raises:
        TrustError: The file names code that may not run; none of it has run.
        ConfigError: The configuration is invalid, or there is no such file to vouch for.
    """
    return _open(overrides, plugins, _Origin(file, file, trust) if file else None)


def open_run(
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    plugins: Sequence[str] = (),
    trust: Sequence[Path] = (),
) -> tuple[RunConfig, Registry]:
    """Load the configuration of a run folder and its plugins, like `open_config`.

    The code of this user's own runs runs too: what a run was given is recorded when it begins.

    Raises:
        TrustError: The folder names code that may not run; none of it has run.
        ConfigError: The configuration is invalid, or there is no such file to vouch for.
    """
    origin = _Origin(configuration_file(folder), folder, trust, recall_code(folder))
    return _open(overrides, plugins, origin)


def is_vouched_for(file: Path, trust: Sequence[Path]) -> bool:
    """Whether a file is in `trust`, or in one of the folders there; links are followed.

    Raises:
        ConfigError: There is no such file or folder.
    """
    places = [user_path(place) for place in trust]
    for place in places:
        if not place.exists():
            raise ConfigError(f"there is no file or folder '{place}' to trust.")
    return any(file.resolve().is_relative_to(place.resolve()) for place in places)


def _open(
    overrides: Sequence[str], plugins: Sequence[str], origin: _Origin | None
) -> tuple[RunConfig, Registry]:
    registry = build_registry(plugins)
    file = origin.file if origin else None
    provided = registry.provided(plugins)
    config = load_config(overrides, file=file, plugins=provided)
    registry.notes += selection_notes(provided, config)
    if origin and is_vouched_for(origin.file, origin.trust):
        origin = None
    typed = merge_layer(RunConfig(), read_overrides(overrides))
    if origin:
        known = [*named_plugins([*plugins, *typed.plugins])]
        new = (spec for spec in config.plugins if spec not in registry.plugins)
        _check(named_plugins(new), known, origin)
    for spec in config.plugins:
        registry.provided_by(spec)
    if origin:
        found, known = (
            other_code(registry, given.teacher["name"], given.data["name"], given.launcher)
            for given in (config, typed)
        )
        _check(found, known, origin)
        by_plugin = (name for slots in provided.values() for name in slots.get("observer", ()))
        known = [*named_observers([*typed.observers, *by_plugin])]
        _check(named_observers(config.observers), known, origin)
    registry.functions |= {config.teacher["name"], config.data["name"]}
    return config, registry


def _check(code: Iterable[Code], typed: Collection[Code], origin: _Origin) -> None:
    """Raise `TrustError` for code that was not typed, is not known and not vouched for."""
    for kind, name, place in code:
        if (kind, name, place) in (*typed, *origin.known):
            continue
        if place.endswith(".py") and is_vouched_for(Path(place), origin.trust):
            continue
        raise TrustError(
            f"'{origin.file}' names the {kind} '{name}', and code that only a file names is not"
            f" run: if you have read it and trust it, add --trust {quote(str(origin.to_trust))}."
        )
