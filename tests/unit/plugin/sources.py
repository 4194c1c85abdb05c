"""The source of plugins that the tests install."""

from __future__ import annotations

from collections.abc import Callable

from tests.paths import ROOT

OWN = sorted(
    [
        "zoo",
        *(
            path.parent.name.removeprefix("pbkd-")
            for path in ROOT.glob("plugins/pbkd-*/pyproject.toml")
            if "on-demand = true" not in path.read_text()
        ),
    ]
)
"""The names of pbkd's own plugins that are loaded without being asked for."""

HEAD = """
from dataclasses import dataclass
from typing import ClassVar

from pbkd import hookimpl
"""


SCHEDULER = """
@dataclass(frozen=True)
class Mine:
    name: ClassVar[str] = "{name}"

    def schedule(self, costs, workers):
        raise NotImplementedError


@hookimpl
def register_schedulers():
    return [Mine]
"""


def scheduler(name: str) -> str:
    return HEAD + SCHEDULER.format(name=name)


def registers(body: str, hook: str = "register_schedulers") -> str:
    return HEAD + f"\n@hookimpl\ndef {hook}():\n    {body}\n"


MISSPELT = registers("return []", hook="register_sheduler")


Install = Callable[..., None]
