"""The command line called in this process, and the plugins that its tests write."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

PLUGIN_HEAD = """
from dataclasses import dataclass
from typing import ClassVar

from pbkd import hookimpl
"""

SCHEDULER_PLUGIN = (
    PLUGIN_HEAD
    + """
@dataclass(frozen=True)
class Mine:
    name: ClassVar[str] = "mine"
    seed: int = 0

    def schedule(self, costs, workers):
        raise NotImplementedError


@hookimpl
def register_schedulers():
    return [Mine]
"""
)

METER_PLUGIN = (
    PLUGIN_HEAD
    + """
@dataclass(frozen=True)
class Wattmeter:
    name: ClassVar[str] = "wattmeter"
    port: str

    def open(self):
        raise NotImplementedError


@hookimpl
def register_meters():
    return [Wattmeter]
"""
)

# Overrides for a run that replaces one block.
ONE_BLOCK = [
    "threads=1",
    "keep=[stem*, head*, conv1*, conv2*, conv3_1]",
    "distill.epochs=1",
    "distill.student_fed_epochs=1",
    "finetune.epochs=1",
    "meters=[]",
]


class Ended(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Pbkd = Callable[..., Ended]


def mistake(ended: Ended) -> str:
    """Return the message for a mistake: one line on standard error, with exit code 2."""
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("pbkd: ")
    assert ended.err.count("\n") == 1
    assert ended.err.endswith("\n")
    return ended.err.removeprefix("pbkd: ").strip()
