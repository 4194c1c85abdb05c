"""Scaffolding of plugin projects: a renamed copy of a built-in plugin, with tests."""

from __future__ import annotations

import ast
import inspect
import re
from typing import TYPE_CHECKING

from pbkd.errors import ConfigError, did_you_mean
from pbkd.hookspecs import CONTRACT
from pbkd.plugin.scaffold_texts import OBSERVER, PROJECT, README, TEST, ZOO_HOOK
from pbkd.plugin.slots import SLOTS

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry


__all__ = ["KINDS", "new_plugin"]

KINDS: dict[str, tuple[str, str]] = {
    "scheduler": ("scheduler", "round-robin"),
    "partitioner": ("partitioner", "vgg"),
    "builder": ("builder", "identity"),
    "loss": ("loss", "cosine"),
    "meter": ("meter", "rapl"),
    "launcher": ("launcher", "local"),
    "zoo": ("model", "digits-vgg"),
    "observer": ("observer", ""),
    "data": ("data", "synthetic"),
    "augmentation": ("augmentation", "crop-flip"),
    "optimiser": ("optimiser", "sgd"),
    "lr-schedule": ("lr-schedule", "constant"),
    "exporter": ("exporter", "torchscript"),
    "selector": ("selector", "milp"),
    "engine": ("engine", "torch"),
    "section": ("section", "classes"),
}
"""By kind of plugin: the slot, and the built-in strategy that is copied; empty for a template."""
_USES = {
    "zoo": "pbkd run teacher={} teacher.weights=random",
    "exporter": "pbkd export runs/latest --format {}",
    "section": "pbkd report runs/latest --section {}",
}
"""By kind that `pbkd run --plugin NAME` does not select: what uses it."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new_plugin(registry: Registry, kind: str, name: str, parent: Path) -> Path:
    """Create the plugin project `pbkd-NAME`: module, tests, README and pyproject.toml.

    Args:
        registry: The installed plugins, for the template and for the names in use.
        kind: A key of `KINDS`.
        name: Name of the plugin: lower-case letters, digits and hyphens.
        parent: Folder in which the project folder is created.

    Returns:
        The project folder.

    Raises:
        ConfigError: The kind is unknown, the name is invalid or in use, or the folder exists.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of plugin '{kind}'.{did_you_mean(kind, KINDS)}")
    _check_name(registry, kind, name)
    folder = parent / f"pbkd-{name}"
    if folder.exists():
        raise ConfigError(f"the folder '{folder}' already exists: choose another name.")
    slot, original = KINDS[kind]
    module = f"pbkd_{name.replace('-', '_')}"
    values = {
        "name": name,
        "slot": f"the {slot}",
        "module": module,
        "original": f"the built-in `{original}`" if original else "a template",
        "item": slot.replace("-", "_"),
        "hook": SLOTS[slot],
        "use": _USES.get(kind, "pbkd run --plugin {}").format(name),
    }
    source = _render(registry, kind, name)
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT.substitute(values))
    (folder / "README.md").write_text(README.substitute(values))
    (folder / f"{module}.py").write_text(source)
    (folder / f"test_{module}.py").write_text(TEST.substitute(values))
    return folder


def _check_name(registry: Registry, kind: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"'{name}' is not a valid plugin name: use lower-case letters, digits and hyphens, such"
            " as my-scheduler."
        )
    slot, _ = KINDS[kind]
    owner = registry.owners.get((slot, name), name if name in registry.plugins else None)
    if owner:
        raise ConfigError(
            f"the name '{name}' is already used by the plugin '{owner}': choose another."
        )


def _render(registry: Registry, kind: str, name: str) -> str:
    """Return the source of a new plugin's module."""
    if kind == "zoo":
        return _render_zoo(registry, name)
    if kind == "observer":
        observer = _class_name(name, kind, "")
        return OBSERVER.substitute(name=name, observer=observer, contract=CONTRACT)
    return _render_strategy(registry, kind, name)


def _render_strategy(registry: Registry, kind: str, name: str) -> str:
    """Copy the source of the built-in strategy, with strategy and class renamed."""
    slot, original = KINDS[kind]
    strategy = registry.find(slot, original)
    source = _module_source(strategy)
    new = _class_name(name, kind, source)
    source = re.sub(rf"\b{strategy.__name__}\b", new, source)
    for quoted in ('"{}"', "`{}`", f"the {slot} {{}} "):
        source = source.replace(quoted.format(original), quoted.format(name))
    return _with_docstring(source, kind, name)


def _class_name(name: str, kind: str, source: str) -> str:
    """Convert the name to CamelCase, plus the kind if it lacks it or `source` has that name."""
    camel, ending = (
        "".join(part.capitalize() for part in text.split("-")) for text in (name, kind)
    )
    free = camel.endswith(ending) and not re.search(rf"\b{camel}\b", source)
    return camel if free else camel + ending


def _render_zoo(registry: Registry, name: str) -> str:
    """Copy the source of a built-in network, with a hook that registers it."""
    build = registry.find("model", KINDS["zoo"][1]).build
    source = _module_source(build)
    function = f"build_{name.replace('-', '_')}"
    source = re.sub(rf"\b{build.__name__}\b", function, source)
    imports = [n for n in ast.parse(source).body if isinstance(n, (ast.Import, ast.ImportFrom))]
    lines = source.splitlines(keepends=True)
    lines.insert(imports[-1].lineno - 1, "from pbkd import ZooModel, hookimpl\n")
    hook = ZOO_HOOK.substitute(name=name, function=function, contract=CONTRACT)
    return _with_docstring("".join(lines) + hook, "zoo", name)


def _module_source(built_in: object) -> str:
    module = inspect.getmodule(built_in)
    assert module is not None
    return inspect.getsource(module)


def _with_docstring(source: str, kind: str, name: str) -> str:
    """Replace the module docstring."""
    docstring = ast.parse(source).body[0]
    subject = f"The {'model' if kind == 'zoo' else kind} `{name}`"
    rest = source.splitlines(keepends=True)[docstring.end_lineno :]
    return f'"""{subject}, created from the built-in `{KINDS[kind][1]}`."""\n' + "".join(rest)
