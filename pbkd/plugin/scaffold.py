"""A new plugin's project: the built-in plugin of its kind, renamed, with a test on the kit."""

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

# The simplest built-in of each kind: its slot and its name.
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
description = "A $kind for pbkd."
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


def test_it_keeps_the_contract() -> None:
    check_plugin($module)


def test_it_is_registered() -> None:
    assert [found.name for found in $module.$hook()] == ["$name"]
""")
_README = Template("""\
# pbkd-$name

A $kind for pbkd, begun as a copy of `$original`, which pbkd ships.

    pip install --editable '.[test]'
    python -m pytest
    pbkd plugins check $name
    pbkd run $use

`$module.py` is all there is to it. `pbkd plugins hooks` prints what pbkd asks of it, and
`pbkd.testing` has what to test it with.
""")
_ZOO_HOOK = Template('''

PBKD_CONTRACT = $contract


@hookimpl
def register_models() -> list[ZooModel]:
    """Hand over the model `$name`."""
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
    """Write the project `pbkd-NAME`, in a folder of its own below `parent`; return that folder.

    Raises `ConfigError` for an unknown kind, a name that is not fit for a project or is taken, and
    a folder that is there already.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of plugin '{kind}'.{did_you_mean(kind, KINDS)}")
    _check_name(registry, kind, name)
    folder = parent / f"pbkd-{name}"
    if folder.exists():
        raise ConfigError(f"the folder '{folder}' is there already: choose another name.")
    slot, original = KINDS[kind]
    module = f"pbkd_{name.replace('-', '_')}"
    values = {
        "name": name,
        "kind": "model" if kind == "zoo" else kind,
        "module": module,
        "original": original,
        "hook": SLOTS[slot],
        "use": f"teacher={name} teacher.weights=random" if kind == "zoo" else f"--plugin {name}",
    }
    source = _zoo_source(registry, name) if kind == "zoo" else _source(registry, kind, name)
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(_PROJECT.substitute(values))
    (folder / "README.md").write_text(_README.substitute(values))
    (folder / f"{module}.py").write_text(source)
    (folder / f"test_{module}.py").write_text(_TEST.substitute(values))
    return folder


def _check_name(registry: Registry, kind: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"the name '{name}' is not fit for a plugin: take small letters, digits and hyphens,"
            " such as my-scheduler."
        )
    slot, _ = KINDS[kind]
    owner = registry.owners.get((slot, name), name if name in registry.plugins else None)
    if owner:
        raise ConfigError(f"the name '{name}' is taken by the plugin '{owner}': choose another.")


def _source(registry: Registry, kind: str, name: str) -> str:
    """Return the built-in's source under the new name, its class, if it is one, renamed too."""
    slot, original = KINDS[kind]
    strategy = registry.find(slot, original)
    if kind == "loss":
        source = _source_of(strategy.error)
    else:
        source = _source_of(strategy)
        new = _class_name(name, kind, source)
        source = re.sub(rf"\b{strategy.__name__}\b", new, source)
    for quoted in ('"{}"', "`{}`", f"the {slot} {{}} "):
        source = source.replace(quoted.format(original), quoted.format(name))
    return _introduced(source, kind, name)


def _class_name(name: str, kind: str, source: str) -> str:
    """Return the name in CamelCase, ending in its kind, and not in use in the source."""
    camel = "".join(part.capitalize() for part in name.split("-"))
    free = camel.endswith(kind.capitalize()) and not re.search(rf"\b{camel}\b", source)
    return camel if free else camel + kind.capitalize()


def _zoo_source(registry: Registry, name: str) -> str:
    """Return the source of the built-in zoo's smallest network, with a hook that hands it over."""
    build = registry.find("model", KINDS["zoo"][1]).build
    source = _source_of(build)
    function = f"build_{name.replace('-', '_')}"
    source = re.sub(rf"\b{build.__name__}\b", function, source)
    imports = [n for n in ast.parse(source).body if isinstance(n, (ast.Import, ast.ImportFrom))]
    lines = source.splitlines(keepends=True)
    lines.insert(imports[-1].lineno - 1, "from pbkd import ZooModel, hookimpl\n")
    hook = _ZOO_HOOK.substitute(name=name, function=function, contract=CONTRACT)
    return _introduced("".join(lines) + hook, "zoo", name)


def _source_of(built_in: object) -> str:
    module = inspect.getmodule(built_in)
    assert module is not None
    return inspect.getsource(module)


def _introduced(source: str, kind: str, name: str) -> str:
    """Return the source with a docstring of its own."""
    docstring = ast.parse(source).body[0]
    article = "A zoo" if kind == "zoo" else f"The {kind} `{name}`"
    rest = source.splitlines(keepends=True)[docstring.end_lineno :]
    return f'"""{article}, begun as a copy of pbkd\'s `{KINDS[kind][1]}`."""\n' + "".join(rest)
