"""Energy of AMD and NVIDIA GPUs, Apple silicon and Jetson boards, through Zeus."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pbkd import EnergyReading, hookimpl
from pbkd.errors import MeterUnavailableError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pbkd.protocols import EnergyMeter

PBKD_CONTRACT = 2

# Zeus's names for the energy of a chip's parts, without those that another one includes.
_PARTS = {
    "cpu_total_mj": "soc-cpu",
    "gpu_mj": "soc-gpu",
    "gpu_sram_mj": "soc-gpu-sram",
    "dram_mj": "soc-dram",
    "ane_mj": "soc-ane",
    "cpu_energy_mj": "soc-cpu",
    "gpu_energy_mj": "soc-gpu",
}
_WHOLE = {"total_energy_mj": "soc"}


@dataclass(frozen=True)
class ZeusMeter:
    """Read the energy counters that Zeus (https://ml.energy/zeus) finds in GPUs and chips.

    Domains are `gpu0`, ... for GPUs of AMD and NVIDIA, `soc-cpu`, `soc-gpu`, ... for the parts of
    Apple silicon, and `soc` for a Jetson board. Nothing is estimated: a GPU without an energy
    counter is lost, with that reason.
    """

    name: ClassVar[str] = "zeus"

    @contextmanager
    def open(self) -> Iterator[Callable[[], EnergyReading]]:
        """Find the counters.

        Yields:
            A function that returns the reading since the meter was opened.

        Raises:
            MeterUnavailableError: Zeus is not installed, or finds no counter.
        """
        counters: list[_Counter] = []
        lost: dict[str, str] = {}
        missing = [_add_gpus(counters, lost), _add_chip(counters)]
        if not counters:
            reasons = [*(f"{domain}: {reason}" for domain, reason in lost.items()), *missing]
            raise MeterUnavailableError(
                f"Zeus finds no energy counter ({'; '.join(filter(None, reasons))})."
            )
        yield lambda: _read(counters, lost)


class _Counter:
    """One of Zeus's counters, with one or several domains; `read` returns their millijoules."""

    def __init__(self, read: Callable[[], dict[str, float]]) -> None:
        self._read = read
        self._start = read()
        self.domains = tuple(self._start)

    def joules(self) -> dict[str, float]:
        """Return the joules of every domain since the counter was opened."""
        now = self._read()
        return {domain: (now[domain] - start) / 1000 for domain, start in self._start.items()}


def _add_gpus(counters: list[_Counter], lost: dict[str, str]) -> str | None:
    """Add the counter of each visible GPU, or the reason to `lost`; return why there is no GPU.

    Zeus and the vendors' libraries raise errors of many types.
    """
    try:
        from zeus.device import get_gpus
    except ImportError:
        raise MeterUnavailableError(
            "the Python package zeus is not installed: pip install 'pbkd[zeus]'."
        ) from None
    try:
        gpus = get_gpus().gpus
    except Exception as error:
        return f"GPUs: {one_line(error)}"
    for gpu in gpus:
        domain = f"gpu{gpu.gpu_index}"
        try:
            if gpu.supports_get_total_energy_consumption():
                counters.append(_Counter(_millijoules(domain, gpu)))
            else:
                lost[domain] = "it has no energy counter that Zeus trusts"
        except Exception as error:
            lost[domain] = f"its energy cannot be read ({one_line(error)})"
    return None


def _millijoules(domain: str, gpu: Any) -> Callable[[], dict[str, float]]:
    return lambda: {domain: float(gpu.get_total_energy_consumption())}


def _add_chip(counters: list[_Counter]) -> str | None:
    """Add the counter of a chip that processor and GPU share; return why there is none."""
    from zeus.device import get_soc

    try:
        counter = _Counter(_parts_of(get_soc()))
    except Exception as error:
        return f"chip: {one_line(error)}"
    if counter.domains:
        counters.append(counter)
    return None if counter.domains else "chip: none of its parts is measured"


def _parts_of(chip: Any) -> Callable[[], dict[str, float]]:
    """Return a function that reads the whole chip, or its parts if Zeus measures only these."""

    def read() -> dict[str, float]:
        readings = {
            field: millijoules
            for field, millijoules in vars(chip.get_total_energy_consumption()).items()
            if millijoules is not None
        }
        names = _WHOLE if _WHOLE.keys() & readings.keys() else _PARTS
        return {names[field]: float(readings[field]) for field in names if field in readings}

    return read


def _read(counters: list[_Counter], lost: dict[str, str]) -> EnergyReading:
    """Read every counter; the domains of one that fails are lost permanently."""
    joules: dict[str, float] = {}
    for counter in list(counters):
        try:
            joules |= counter.joules()
        except Exception as error:
            counters.remove(counter)
            lost |= dict.fromkeys(counter.domains, f"it stopped answering ({one_line(error)})")
    return EnergyReading(joules, dict(lost))


@hookimpl
def register_meters() -> list[type[EnergyMeter]]:
    """Register the meter `zeus`."""
    return [ZeusMeter]
