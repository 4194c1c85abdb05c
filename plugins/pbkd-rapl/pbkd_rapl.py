"""Energy of CPU packages, through the RAPL counters that Linux shows under powercap."""

from __future__ import annotations

import re
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

PBKD_CONTRACT = 1

# The same folders for Intel and AMD. Parts of a package (intel-rapl:0:0) and the second view of
# a package (intel-rapl-mmio:0) would count its energy twice.
_ZONE = re.compile(r"intel-rapl:\d+")


@dataclass(frozen=True)
class RaplMeter:
    """Reads the energy counter of each CPU package.

    Domains are `cpu-package-0`, ... by the kernel's name of the package. A counter that wraps
    around is followed as long as it is read more often than it wraps (many minutes); one that is
    reset, as by suspending the machine, looks the same as one that wraps.
    `root` is the folder of the powercap zones.
    """

    name: ClassVar[str] = "rapl"
    root: str = "/sys/class/powercap"

    @contextmanager
    def open(self) -> Iterator[Callable[[], EnergyReading]]:
        """Find the packages' counters; the context gives the function that reads them.

        Raises `MeterUnavailableError` where there is no counter, or none may be read.
        """
        counters, lost = _open_counters(Path(self.root))
        yield lambda: _read(counters, lost)


class _Counter:
    """The counter of one package, followed over its wrap-arounds."""

    def __init__(self, zone: Path) -> None:
        self.zone = zone
        self._file = zone / "energy_uj"
        self._range = _microjoules(zone / "max_energy_range_uj")
        self._last = _microjoules(self._file)
        self._total = 0

    def joules(self) -> float:
        """Return the joules since the counter was opened."""
        now = _microjoules(self._file)
        step = now - self._last if now >= self._last else now - self._last + self._range
        if step < 0:
            raise ValueError("it runs backwards")
        self._last = now
        self._total += step
        return self._total / 1e6


def _microjoules(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _open_counters(root: Path) -> tuple[dict[str, _Counter], dict[str, str]]:
    """Return the counter of each package, and why a package cannot be read."""
    counters, lost = {}, {}
    for zone in sorted(root.glob("intel-rapl:*")):
        if not _ZONE.fullmatch(zone.name):
            continue
        domain = zone.name
        try:
            name = (zone / "name").read_text(encoding="ascii").strip()
            if not name.startswith("package"):  # psys, the whole machine, holds the packages too
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
    """Say what is wrong with a counter, and what to do where a permission is missing."""
    if isinstance(error, PermissionError):
        return (
            f"no permission to read {zone}/energy_uj; give this user read permission, for example"
            f" by 'sudo chmod a+r {zone.parent}/intel-rapl:*/energy_uj' after each boot"
        )
    return f"the counter {zone} cannot be read ({error})"


def _read(counters: dict[str, _Counter], lost: dict[str, str]) -> EnergyReading:
    """Read every counter; one that fails moves from `counters` to `lost` for good."""
    joules = {}
    for domain, counter in list(counters.items()):
        try:
            joules[domain] = counter.joules()
        except (OSError, ValueError) as error:
            del counters[domain]
            lost[domain] = _reason(counter.zone, error)
    return EnergyReading(joules, dict(lost))


@hookimpl
def register_meters() -> list[type[EnergyMeter]]:
    """Register the meter `rapl`."""
    return [RaplMeter]
