"""The plugins that are there: loaded one by one, so that a broken one stops nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from pbkd import hookspecs, protocols
from pbkd._version import __version__
from pbkd.config.options import typed_options
from pbkd.errors import (
    PLUGIN_FAILURES,
    ConfigError,
    PbkdError,
    PluginError,
    UnknownNameError,
    did_you_mean,
    first_line,
    one_line,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType


__all__ = [
    "FROM_FILE",
    "PROTOCOLS",
    "SLOTS",
    "BrokenPlugin",
    "Plugin",
    "Registry",
    "build_registry",
]

FROM_FILE = "pbkd_plugin_"
"""Begins the names of the modules that are plugins given as files."""
SLOTS = {
    "partitioner": "register_partitioners",
    "builder": "register_builders",
    "loss": "register_losses",
    "scheduler": "register_schedulers",
    "meter": "register_meters",
    "launcher": "register_launchers",
    "model": "register_models",
}
PROTOCOLS: dict[str, type] = {
    "partitioner": protocols.Partitioner,
    "builder": protocols.BlockBuilder,
    "scheduler": protocols.Scheduler,
    "meter": protocols.EnergyMeter,
    "launcher": protocols.Launcher,
}


@dataclass(frozen=True)
class Plugin:
    """A plugin that works: where it came from and the names it provides, by slot."""

    name: str
    version: str
    origin: str
    provides: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that was set aside, and why."""

    name: str
    origin: str
    reason: str


@dataclass
class Registry:
    """Names to strategies, for each slot of `SLOTS`."""

    manager: pluggy.PluginManager
    strategies: dict[str, dict[str, Any]] = field(default_factory=lambda: {s: {} for s in SLOTS})
    owners: dict[tuple[str, str], str] = field(default_factory=dict)
    plugins: dict[str, Plugin] = field(default_factory=dict)
    broken: list[BrokenPlugin] = field(default_factory=list)

    def find(self, slot: str, name: str) -> Any:
        """Return what is registered under a name, or raise `UnknownNameError`."""
        known = self.strategies[slot]
        if name in known:
            return known[name]
        message = f"unknown {slot} '{name}'.{did_you_mean(name, known)}"
        if self.broken:
            message += f" Plugins that failed to load: {_reasons(self.broken)}"
        raise UnknownNameError(message)

    def create(self, slot: str, choice: Mapping[str, Any]) -> Any:
        """Build the strategy that a choice of the configuration names, with its options.

        Args:
            slot: a key of `SLOTS`, such as `"scheduler"`.
            choice: the strategy's `name` and its options, such as `{"name": "greedy"}`.

        Returns:
            An instance of the registered class.

        Raises:
            UnknownNameError: no strategy of that name is registered for the slot.
            ConfigError: an option is unknown, ill-typed, missing, or rejected by the strategy.
            PluginError: the strategy declares an option that cannot be configured.
        """
        name = choice["name"]
        strategy = self.find(slot, name)
        options = {key: value for key, value in choice.items() if key != "name"}
        keywords = typed_options(strategy, options, where=slot)
        try:
            return strategy(**keywords)
        except PbkdError:
            raise
        except Exception as error:
            raise ConfigError(f"the {slot} '{name}' refuses: {first_line(error)}") from error

    def add(self, name: str, module: object, *, version: str, origin: str) -> Plugin:
        """Register one plugin; raise `PluginError`, leaving no trace of it, where it is broken."""
        if name in self.plugins:
            raise PluginError(f"the plugin name '{name}' is taken by {self.plugins[name].origin}.")
        _check_contract(f"'{name}' {version}".strip(), module)
        try:
            self.manager.register(module, name)
            self.manager.check_pending()
            if not self.manager.get_hookcallers(module):
                raise PluginError("it has no function marked @pbkd.hookimpl.")
            provided = self._strategies_of(name, module)
        except PLUGIN_FAILURES as error:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            raise PluginError(one_line(error)) from error
        for slot, found in provided.items():
            self.strategies[slot].update(found)
            self.owners.update({(slot, key): name for key in found})
        names = {slot: tuple(found) for slot, found in provided.items() if found}
        self.plugins[name] = Plugin(name, version, origin, names)
        return self.plugins[name]

    def module_of(self, plugin: Plugin) -> object:
        """Return the module, or the object, that a plugin is."""
        return self.manager.get_plugin(plugin.name)

    def plugin_at(self, path: Path) -> Plugin | None:
        """Return the plugin whose module is a file, if it is loaded."""
        for plugin in self.plugins.values():
            file = getattr(self.module_of(plugin), "__file__", None)
            if file and Path(file).resolve() == path.resolve():
                return plugin
        return None

    def provided_by(self, spec: str) -> dict[str, tuple[str, ...]]:
        """Return, by slot, the names that the plugin given as `spec` registers."""
        return load_plugin(self, spec).provides

    def provided(self, specs: Iterable[str]) -> dict[str, dict[str, tuple[str, ...]]]:
        """Return what `provided_by` does for each plugin, as `load_config` takes it."""
        return {spec: self.provided_by(spec) for spec in specs}

    def _strategies_of(self, name: str, module: object) -> dict[str, dict[str, Any]]:
        return {slot: self._named(slot, hook, name, module) for slot, hook in SLOTS.items()}

    def _named(self, slot: str, hook: str, name: str, module: object) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            if implementation.plugin is not module:
                continue
            handed = implementation.function()
            if not isinstance(handed, Iterable):
                raise PluginError(f"{hook} hands over {handed!r}, not a list.")
            for strategy in handed:
                if fault := _fault(slot, strategy):
                    raise PluginError(f"{hook} hands over {strategy!r}, which {fault}.")
                key = strategy.name
                if key in found or (slot, key) in self.owners:
                    owner = self.owners.get((slot, key), name)
                    raise PluginError(
                        f"it registers the {slot} '{key}', a name already taken by '{owner}'."
                    )
                found[key] = strategy
        return found


def build_registry(extra: Sequence[str] = ()) -> Registry:
    """Load the installed plugins (entry-point group `pbkd`), then those named by `--plugin`.

    Installed plugins that are broken are set aside in `Registry.broken`; a broken one in `extra`
    was asked for, so it raises `PluginError`. Names in the environment variable
    `PBKD_DISABLE_PLUGINS` (separated by commas) are not loaded.
    """
    manager = pluggy.PluginManager("pbkd")
    manager.add_hookspecs(hookspecs)
    registry = Registry(manager)
    disabled = os.environ.get("PBKD_DISABLE_PLUGINS", "").split(",")
    for point in sorted(entry_points(group="pbkd"), key=_own_first):
        if point.name not in map(str.strip, disabled):
            _add_installed(registry, point)
    for spec in extra:
        load_plugin(registry, spec)
    return registry


def load_plugin(registry: Registry, spec: str) -> Plugin:
    """Return the plugin named by `--plugin`: an installed name, a module, or a `.py` file."""
    if spec in registry.plugins:
        return registry.plugins[spec]
    if spec.endswith(".py") and (loaded := registry.plugin_at(Path(spec))):
        return loaded
    for broken in registry.broken:
        if broken.name == spec:
            raise PluginError(f"the plugin '{spec}' ({broken.origin}) is broken: {broken.reason}")
    module = _import_plugin(registry, spec)
    for plugin in registry.plugins.values():
        if registry.module_of(plugin) is module:
            return plugin
    try:
        origin = str(getattr(module, "__file__", None) or spec)
        return registry.add(spec, module, version="", origin=origin)
    except PluginError as error:
        raise PluginError(f"the plugin '{spec}' is broken: {error}") from error


def _import_plugin(registry: Registry, spec: str) -> ModuleType:
    """Import a module or a `.py` file; raise `PluginError` where there is none, or it fails."""
    try:
        return _import_file(Path(spec)) if spec.endswith(".py") else importlib.import_module(spec)
    except ModuleNotFoundError as error:
        if error.name != spec.partition(".")[0]:
            raise PluginError(f"the plugin '{spec}' fails to import: {error}.") from error
        raise PluginError(
            f"there is no plugin '{spec}': give an installed plugin, an importable module or a"
            f" .py file.{did_you_mean(spec, registry.plugins)}"
        ) from error
    except PLUGIN_FAILURES as error:
        raise PluginError(f"the plugin '{spec}' fails to import: {one_line(error)}") from error


def _check_contract(plugin: str, module: object) -> None:
    """Raise `PluginError` where a plugin states another version of the contract than pbkd's."""
    stated = getattr(module, "PBKD_CONTRACT", hookspecs.CONTRACT)
    if stated == hookspecs.CONTRACT:
        return
    newer = isinstance(stated, int) and stated > hookspecs.CONTRACT
    raise PluginError(
        f"{plugin} is written for contract {stated!r} between pbkd and its plugins, but pbkd"
        f" {__version__} has contract {hookspecs.CONTRACT}: install"
        f" {'a newer pbkd' if newer else 'a newer version of the plugin, or an older pbkd'}."
    )


def _fault(slot: str, strategy: Any) -> str | None:
    """Say what is wrong with something that a plugin hands over, if anything is."""
    if not isinstance(getattr(strategy, "name", None), str) or not strategy.name:
        return "has no name"
    if slot == "model":
        from pbkd.protocols import ZooModel

        return None if isinstance(strategy, ZooModel) else "is not a pbkd.ZooModel"
    if slot == "loss":
        return None if isinstance(strategy, protocols.Loss) else "is not a pbkd.Loss"
    if not isinstance(strategy, type):
        return "is not a class"
    methods = (n for n, member in vars(PROTOCOLS[slot]).items() if inspect.isfunction(member))
    missing = [n for n in methods if n[0] != "_" and not callable(getattr(strategy, n, None))]
    return f"has no method {missing[0]}" if missing else None


def _own_first(point: Any) -> tuple[bool, str]:
    """Sort pbkd's own plugins first, so that a third party cannot take a built-in's name."""
    return (point.dist is None or point.dist.name != "pbkd", point.name)


def _add_installed(registry: Registry, point: Any) -> None:
    dist = point.dist
    origin = f"{dist.name} {dist.version}" if dist else point.value
    try:
        registry.add(point.name, point.load(), version=dist.version if dist else "", origin=origin)
    except PLUGIN_FAILURES as error:
        registry.broken.append(BrokenPlugin(point.name, origin, one_line(error)))


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError(f"there is no file '{path}'.")
    # Two files of the same name in different folders are two modules.
    name = FROM_FILE + re.sub(r"\W", "_", str(path.resolve().with_suffix("")))
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise PluginError(f"'{path}' is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _reasons(broken: Iterable[BrokenPlugin]) -> str:
    return "; ".join(f"{plugin.name} ({plugin.reason})" for plugin in broken)
