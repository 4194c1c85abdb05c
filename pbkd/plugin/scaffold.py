"""Scaffolding of plugin projects: a renamed copy of a built-in plugin, with tests."""

from __future__ import annotations

import ast
import inspect
import re
from string import Template
from typing import TYPE_CHECKING

from pbkd.errors import ConfigError, did_you_mean
from pbkd.hookspecs import CONTRACT
from pbkd.plugin.slots import SLOTS

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry


__all__ = ["KINDS", "new_plugin"]

# By kind of plugin: the slot and the name of the built-in strategy that serves as the template.
KINDS = {
    "scheduler": ("scheduler", "round-robin"),
    "partitioner": ("partitioner", "vgg"),
    "builder": ("builder", "identity"),
    "loss": ("loss", "cosine"),
    "meter": ("meter", "rapl"),
    "launcher": ("launcher", "local"),
    "zoo": ("model", "digits-vgg"),
}
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PROJECT = Template("""\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "pbkd-$name"
version = "0.1.0"
description = "A $kind plugin for pbkd."
readme = "README.md"
license = "Apache-2.0"
requires-python = ">=3.10"
dependencies = ["pbkd"]

[project.optional-dependencies]
test = ["pbkd[testing]"]

[project.entry-points.pbkd]
$name = "$module"

[tool.hatch.build.targets.wheel]
only-include = ["$module.py"]
""")
_TEST = Template("""\
from __future__ import annotations

import $module
from pbkd.testing import check_plugin


def test_conformance() -> None:
    check_plugin($module)


def test_registered_names() -> None:
    assert [$item.name for $item in $module.$hook()] == ["$name"]
""")
_README = Template("""\
# pbkd-$name

A $kind plugin for pbkd, created from the built-in `$original`.

## Installation

    pip install --editable '.[test]'

## Usage

    pbkd run $use

## Development

The plugin is the module `$module.py`. `pbkd plugins hooks` prints the interface it implements.
The first command below runs its tests, the second the conformance tests of pbkd.

    python -m pytest
    pbkd plugins check $name
""")
_ZOO_HOOK = Template('''

PBKD_CONTRACT = $contract


@hookimpl
def register_models() -> list[ZooModel]:
    """Register the model `$name`.

    Returns:
        The models of this zoo, by unique names.
    """
    return [
        ZooModel(
            name="$name",
            build=$function,
            summary="a VGG with 6 convolutions for 8x8 images",
            mean=(0.5,),
            std=(0.5,),
            input_shape=(1, 8, 8),
        )
    ]
''')


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
        "kind": "model" if kind == "zoo" else kind,
        "module": module,
        "original": original,
        "item": slot,
        "hook": SLOTS[slot],
        "use": f"teacher={name} teacher.weights=random" if kind == "zoo" else f"--plugin {name}",
    }
    source = (
        _render_zoo(registry, name) if kind == "zoo" else _render_strategy(registry, kind, name)
    )
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(_PROJECT.substitute(values))
    (folder / "README.md").write_text(_README.substitute(values))
    (folder / f"{module}.py").write_text(source)
    (folder / f"test_{module}.py").write_text(_TEST.substitute(values))
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
    camel = "".join(part.capitalize() for part in name.split("-"))
    free = camel.endswith(kind.capitalize()) and not re.search(rf"\b{camel}\b", source)
    return camel if free else camel + kind.capitalize()


def _render_zoo(registry: Registry, name: str) -> str:
    """Copy the source of a built-in network, with a hook that registers it."""
    build = registry.find("model", KINDS["zoo"][1]).build
    source = _module_source(build)
    function = f"build_{name.replace('-', '_')}"
    source = re.sub(rf"\b{build.__name__}\b", function, source)
    imports = [n for n in ast.parse(source).body if isinstance(n, (ast.Import, ast.ImportFrom))]
    lines = source.splitlines(keepends=True)
    lines.insert(imports[-1].lineno - 1, "from pbkd import ZooModel, hookimpl\n")
    hook = _ZOO_HOOK.substitute(name=name, function=function, contract=CONTRACT)
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
