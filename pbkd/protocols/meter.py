"""Energy meters: how sensors are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager


__all__ = ["EnergyMeter", "EnergyReading"]


@dataclass(frozen=True)
class EnergyReading:
    """Energy since a meter was opened.

    Attributes:
        joules: Joules by domain, such as `gpu0` or `cpu-package-0`.
        lost: The reason by domain whose sensor was lost or cannot be trusted; such a domain is not
            in `joules`.
        devices: The device by domain, as torch names it (`cuda:0`, `cpu`), where it is certain.
        estimates: The method by domain that no sensor measures; the name of such a domain contains
            the word `estimate`.
    """

    joules: Mapping[str, float]
    lost: Mapping[str, str]
    devices: Mapping[str, str] = field(default_factory=dict)
    estimates: Mapping[str, str] = field(default_factory=dict)


class EnergyMeter(Protocol):
    """Reads energy sensors."""

    name: ClassVar[str]

    def open(self) -> AbstractContextManager[Callable[[], EnergyReading]]:
        """Open the sensors; the context manager yields a function that reads them.

        The core calls that function about once a second, from one thread at a time, so that a
        meter can follow a counter that wraps around, or integrate power between two calls.

        Called in the host process, in a dedicated thread: once per run, before planning, and by
        `pbkd doctor`. `pbkd bench` calls it in the process of its first worker.

        Raises:
            MeterUnavailableError: There is no usable sensor; the message says why.
        """
        ...
