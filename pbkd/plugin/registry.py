"""The registry of plugins: loaded one by one, so that a broken plugin affects no other."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd import hookspecs
from pbkd.config.options import choice_options, inner_choices, typed_options
from pbkd.core.files import user_path
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
from pbkd.plugin.attribution import describe_failure
from pbkd.plugin.hook_functions import HookManager, check_hooks
from pbkd.plugin.installed import DISABLED, disabled_plugins, installed_plugins
from pbkd.plugin.modules import import_plugin
from pbkd.plugin.registrations import registered_strategies
from pbkd.plugin.slots import SLOTS, check_contract

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pluggy


__all__ = ["BrokenPlugin", "Plugin", "Registry", "build_registry", "load_plugin"]


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin.

    Attributes:
        name: Name of its entry point, or what `--plugin` named.
        version: Version of its distribution; empty if it is not installed.
        origin: Its distribution, module or file.
        provides: The names that it registers, by slot.
        notes: What of it is not used, and why, a sentence each, after "the plugin NAME:".
    """

    name: str
    version: str
    origin: str
    provides: dict[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BrokenPlugin:
    """An installed plugin that failed to load.

    Attributes:
        name: Name of its entry point.
        origin: Its distribution or module.
        reason: Why it failed.
    """

    name: str
    origin: str
    reason: str


@dataclass
class Registry:
    """The strategies that plugins registered.

    Attributes:
        manager: Pluggy's manager, which calls the hooks.
        strategies: The registered classes and models, by slot and name.
        owners: Name of the plugin that registered a (slot, name).
        plugins: The loaded plugins, by name.
        broken: Installed plugins that failed to load.
        functions: Names `module:function` that may be imported as teacher or data; no others are.
        notes: What a user should know about the plugins, a sentence each.
        disabled: Installed plugins that are not loaded, as `PBKD_DISABLE_PLUGINS` says.
    """

    manager: pluggy.PluginManager
    strategies: dict[str, dict[str, Any]] = field(default_factory=lambda: {s: {} for s in SLOTS})
    owners: dict[tuple[str, str], str] = field(default_factory=dict)
    plugins: dict[str, Plugin] = field(default_factory=dict)
    broken: list[BrokenPlugin] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)

    def find(self, slot: str, name: str) -> Any:
        """Look up a registered class or model.

        Args:
            slot: A key of `SLOTS`.
            name: The name.

        Raises:
            UnknownNameError: The slot has no such name.
        """
        known = self.strategies[slot]
        if name in known:
            return known[name]
        message = f"unknown {slot} '{name}'.{did_you_mean(name, known)}{_on_demand(name)}"
        if self.broken:
            message += f" Plugins that failed to load: {_reasons(self.broken)}"
        if self.disabled:
            message += f" Disabled by {DISABLED}: {', '.join(self.disabled)}."
        raise UnknownNameError(message)

    def create(self, slot: str, choice: Mapping[str, Any], key: str | None = None) -> Any:
        """Build the strategy that a choice of the configuration names, with its options.

        Args:
            slot: A key of `SLOTS`, such as `"scheduler"`.
            choice: The strategy's `name` and its options, such as `{"name": "greedy"}`.
            key: The key of the choice in the configuration, for error messages; None if it is the
                slot.

        Returns:
            An instance of the registered class.

        Raises:
            UnknownNameError: No strategy of that name is registered for the slot.
            ConfigError: An option is unknown, ill-typed, missing, or rejected by the strategy.
            PluginError: The strategy has an option that cannot be configured, or ends the process.
        """
        name = choice["name"]
        strategy = self.find(slot, name)
        keywords = typed_options(strategy, choice_options(choice), where=key or slot)
        for option, other, inner in inner_choices(strategy, keywords, key or slot):
            keywords[option] = self.create(other, inner, f"{key or slot}.{option}")
        try:
            return strategy(**keywords)
        except PbkdError:
            raise
        except SystemExit as error:
            text = describe_failure(slot, strategy, "__init__", error)
            raise PluginError(f"{text}.") from error
        except Exception as error:
            raise ConfigError(
                f"the {slot} '{name}' rejects its options: {first_line(error)}"
            ) from error

    def add(self, name: str, module: object, *, version: str, origin: str) -> Plugin:
        """Register a plugin.

        Args:
            name: Name of the plugin.
            module: The module, or any object, with its hooks.
            version: Version of its distribution.
            origin: Its distribution, module or file.

        Raises:
            PluginError: The plugin is broken; nothing of it stays registered.
        """
        if name in self.plugins:
            raise PluginError(
                f"the plugin name '{name}' is already used by {self.plugins[name].origin}."
            )
        check_contract(f"'{name}' {version}".strip(), module)
        try:
            notes = check_hooks(self.manager, module)
            self.manager.register(module, name)
            provided = registered_strategies(self.manager, self.owners, name, module)
        except PLUGIN_FAILURES as error:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            raise PluginError(one_line(error)) from error
        for slot, found in provided.items():
            self.strategies[slot].update(found)
            self.owners.update({(slot, key): name for key in found})
        names = {slot: tuple(found) for slot, found in provided.items() if found}
        self.plugins[name] = Plugin(name, version, origin, names, tuple(notes))
        self.notes += [f"The plugin '{name}': {note}" for note in notes]
        return self.plugins[name]

    def module_of(self, plugin: Plugin) -> object:
        """Return the module or object of a plugin."""
        return self.manager.get_plugin(plugin.name)

    def plugin_at(self, path: Path) -> Plugin | None:
        """Return the loaded plugin whose module is the file `path`, or None."""
        for plugin in self.plugins.values():
            file = getattr(self.module_of(plugin), "__file__", None)
            if file and Path(file).resolve() == path.resolve():
                return plugin
        return None

    def provided_by(self, spec: str) -> dict[str, tuple[str, ...]]:
        """Load a plugin if necessary, and return the names that it registers, by slot.

        Args:
            spec: An installed plugin's name, a module, or a `.py` file.

        Raises:
            PluginError: There is no such plugin, or it is broken.
        """
        return load_plugin(self, spec).provides

    def provided(self, specs: Iterable[str]) -> dict[str, dict[str, tuple[str, ...]]]:
        """Return the result of `provided_by` for each plugin, as `load_config` expects it."""
        return {spec: self.provided_by(spec) for spec in specs}


def build_registry(extra: Sequence[str] = (), functions: Iterable[str] = ()) -> Registry:
    """Load the installed plugins (entry-point group `pbkd`), then further ones.

    The environment variable `PBKD_DISABLE_PLUGINS` holds names of installed plugins, separated by
    commas, that are not loaded.

    Args:
        extra: Further plugins, as `--plugin` names them.
        functions: The `functions` of the registry.

    Returns:
        The registry; installed plugins that failed to load are in its `broken`.

    Raises:
        PluginError: A plugin of `extra` does not exist or is broken.
    """
    manager = HookManager("pbkd")
    manager.add_hookspecs(hookspecs)
    registry = Registry(manager, functions=set(functions))
    disabled = dict.fromkeys(disabled_plugins())
    for point, name, version in installed_plugins():
        if point.name in disabled:
            registry.disabled.append(point.name)
        else:
            _add_installed(registry, point, name, version)
    for unknown in disabled.keys() - registry.disabled:
        registry.notes.append(f"{DISABLED} names '{unknown}', but no such plugin is installed.")
    for spec in extra:
        load_plugin(registry, spec)
    return registry


def load_plugin(registry: Registry, spec: str) -> Plugin:
    """Load a plugin that is named by `--plugin`, unless it is loaded already.

    Args:
        registry: Where to register it.
        spec: An installed plugin's name, a module, or a `.py` file.

    Raises:
        PluginError: There is no such plugin, or it is broken.
    """
    if spec in registry.plugins:
        return registry.plugins[spec]
    if spec.endswith(".py") and (loaded := registry.plugin_at(user_path(spec))):
        return loaded
    if spec in registry.disabled:
        raise PluginError(f"the plugin '{spec}' is disabled by {DISABLED}: take it out of there.")
    for broken in registry.broken:
        if broken.name == spec:
            raise PluginError(f"the plugin '{spec}' ({broken.origin}) is broken: {broken.reason}")
    module = import_plugin(spec, registry.plugins)
    for plugin in registry.plugins.values():
        if registry.module_of(plugin) is module:
            return plugin
    try:
        origin = str(getattr(module, "__file__", None) or spec)
        return registry.add(spec, module, version="", origin=origin)
    except PluginError as error:
        raise PluginError(f"the plugin '{spec}' is broken: {error}") from error


def _add_installed(registry: Registry, point: Any, name: str, version: str) -> None:
    origin = f"{name} {version}" if name else point.value
    try:
        registry.add(point.name, point.load(), version=version, origin=origin)
    except PLUGIN_FAILURES as error:
        registry.broken.append(BrokenPlugin(point.name, origin, one_line(error)))


def _on_demand(name: str) -> str:
    """Say how to load the plugin of this name that pbkd has but loads on demand, if there is."""
    module = f"pbkd_{name.replace('-', '_')}"
    is_there = module.isidentifier() and find_spec(module) is not None
    return f" It is loaded by --plugin {module}." if is_there else ""


def _reasons(broken: Iterable[BrokenPlugin]) -> str:
    return "; ".join(f"{plugin.name} ({plugin.reason})" for plugin in broken)
