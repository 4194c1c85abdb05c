"""Energy of CPU packages, through the RAPL counters of Linux (powercap)."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl
from pbkd.errors import MeterUnavailableError
from pbkd.protocols import EnergyReading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pbkd.protocols import EnergyMeter

PBKD_CONTRACT = 2

# The same folders for Intel and AMD. Parts of a package (intel-rapl:0:0) and the second view of
# a package (intel-rapl-mmio:0) would count its energy twice.
_ZONE = re.compile(r"intel-rapl:\d+")
_MAX_WATTS = 1000  # no package draws more, so that a counter wraps after range / _MAX_WATTS
_MIN_GAP = 30.0  # seconds in which no counter wraps twice


@dataclass(frozen=True)
class RaplMeter:
    """Read the energy counter of each CPU package.

    Domains are `cpu-package-0`, ... by the kernel's name of the package, all of the device `cpu`.
    Counters may wrap around. A counter is lost if it was not read for so long that it may have
    wrapped twice (a minute or more), or if the machine was suspended, which resets it. `root` is
    the folder of the powercap zones.
    """

    name: ClassVar[str] = "rapl"
    root: str = "/sys/class/powercap"

    @contextmanager
    def open(self) -> Iterator[Callable[[], EnergyReading]]:
        """Find the packages' counters.

        Yields:
            A function that returns the reading since the meter was opened.

        Raises:
            MeterUnavailableError: There is no counter, or no permission to read one.
        """
        counters, lost = _open_counters(Path(self.root).expanduser())
        devices = dict.fromkeys((*counters, *lost), "cpu")
        yield lambda: EnergyReading(_read(counters, lost), dict(lost), devices)


class _Counter:
    """The counter of one package, with its wrap-arounds added up."""

    def __init__(self, zone: Path) -> None:
        self.zone = zone
        self._file = zone / "energy_uj"
        self._range = _microjoules(zone / "max_energy_range_uj")
        self._last = _microjoules(self._file)
        self._seconds, self._suspended = time.monotonic(), _suspended_seconds()
        self._total = 0

    def joules(self) -> float:
        """Return the joules since the counter was opened."""
        self._check_gap()
        now = _microjoules(self._file)
        step = now - self._last if now >= self._last else now - self._last + self._range
        if step < 0:
            raise ValueError("it runs backwards")
        self._last = now
        self._total += step
        return self._total / 1e6

    def _check_gap(self) -> None:
        """Raise `ValueError` if the change since the last reading is ambiguous."""
        gap = time.monotonic() - self._seconds
        self._seconds += gap
        if _suspended_seconds() - self._suspended > 1:
            raise ValueError("the machine was suspended, which resets it")
        if gap > max(_MIN_GAP, self._range / 1e6 / _MAX_WATTS):
            raise ValueError(f"it was not read for {gap:.0f} s and may have wrapped twice")


def _suspended_seconds() -> float:
    """Return the seconds that the machine was suspended since it started, up to a constant."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.clock_gettime(clock) - time.monotonic()


def _microjoules(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _open_counters(root: Path) -> tuple[dict[str, _Counter], dict[str, str]]:
    """Return the counter of each package, and the reasons of packages without one."""
    counters, lost = {}, {}
    for zone in sorted(root.glob("intel-rapl:*")):
        if not _ZONE.fullmatch(zone.name):
            continue
        domain = zone.name
        try:
            name = (zone / "name").read_text(encoding="ascii").strip()
            if not name.startswith("package"):  # psys, the whole machine, includes the packages
                continue
            domain = f"cpu-{name}"
            counters[domain] = _Counter(zone)
        except (OSError, ValueError) as error:
            lost[domain] = _reason(zone, error)
    if not counters:
        reasons = [*lost.values(), f"this machine shows no RAPL counters under {root}"]
        raise MeterUnavailableError(f"{reasons[0]}.")
    return counters, lost


def _reason(zone: Path, error: OSError | ValueError) -> str:
    """Describe an error, and what to do about a missing permission."""
    if isinstance(error, PermissionError):
        return (
            f"no permission to read {zone}/energy_uj; give this user read permission, for example"
            f" by 'sudo chmod a+r {zone.parent}/intel-rapl:*/energy_uj' after each boot"
        )
    return f"the counter {zone} cannot be read ({error})"


def _read(counters: dict[str, _Counter], lost: dict[str, str]) -> dict[str, float]:
    """Read every counter; move one that fails permanently from `counters` to `lost`."""
    joules = {}
    for domain, counter in list(counters.items()):
        try:
            joules[domain] = counter.joules()
        except (OSError, ValueError) as error:
            del counters[domain]
            lost[domain] = _reason(counter.zone, error)
    return joules


@hookimpl
def register_meters() -> list[type[EnergyMeter]]:
    """Register the meter `rapl`."""
    return [RaplMeter]
