"""The source of plugins that the tests install."""

from __future__ import annotations

from collections.abc import Callable

OWN = [
    "amd",
    "cached",
    "cosine",
    "estimate",
    "fx",
    "ghost",
    "greedy",
    "identity",
    "inverted-residual",
    "local",
    "low-rank",
    "lpt-scheduler",
    "nvml",
    "pipeline",
    "rapl",
    "ray",
    "resnet",
    "round-robin",
    "separable",
    "squared-error",
    "torchrun",
    "vgg",
    "zeus",
    "zoo",
]

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
