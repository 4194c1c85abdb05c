"""Texts of the files of a new plugin project."""

from __future__ import annotations

from string import Template

__all__ = ["OBSERVER", "PROJECT", "README", "TEST", "ZOO_HOOK"]

PROJECT = Template("""\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "pbkd-$name"
version = "0.1.0"
description = "A plugin for pbkd: $slot $name."
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
TEST = Template("""\
from __future__ import annotations

import $module
from pbkd.testing import check_plugin


def test_conformance() -> None:
    check_plugin($module)


def test_registered_names() -> None:
    assert [$item.name for $item in $module.$hook()] == ["$name"]
""")
README = Template("""\
# pbkd-$name

A plugin for pbkd, created from $original: $slot `$name`.

## Installation

    pip install --editable '.[test]'

## Usage

    $use

## Development

The plugin is the module `$module.py`. `pbkd plugins hooks` prints the interface it implements.
The first command below runs its tests, the second the conformance tests of pbkd.

    python -m pytest
    pbkd plugins check $name
""")
ZOO_HOOK = Template('''

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
OBSERVER = Template('''\
"""The observer `$name`, which writes the losses of a run to a file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl
from pbkd.runs import EpochDone

if TYPE_CHECKING:
    from pbkd import RunInfo, RunResult
    from pbkd.protocols import Observer
    from pbkd.runs import Event

PBKD_CONTRACT = $contract


@dataclass(frozen=True)
class $observer:
    """Append a row for every epoch, and one for the result, to a CSV file in the run folder.

    Args:
        file: Name of the file.
    """

    name: ClassVar[str] = "$name"
    file: str = "$name.csv"

    def event(self, event: Event, run: RunInfo) -> None:
        """Write the loss of an epoch."""
        if isinstance(event, EpochDone):
            self._append(run, event.phase, event.block, event.epoch, event.loss)

    def run_finished(self, result: RunResult, run: RunInfo) -> None:
        """Write the accuracy of the student."""
        self._append(run, "result", "", "", result.student.accuracy)

    def _append(self, run: RunInfo, *cells: object) -> None:
        with (run.folder / self.file).open("a", newline="") as file:
            csv.writer(file).writerow(cells)


@hookimpl
def register_observers() -> list[type[Observer]]:
    """Register the observer `$name`."""
    return [$observer]
''')
