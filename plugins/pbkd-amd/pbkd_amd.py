"""Energy of AMD GPUs, through AMD SMI (the library behind `amd-smi`)."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pbkd import hookimpl
from pbkd.errors import MeterUnavailableError
from pbkd.protocols import EnergyReading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pbkd.protocols import EnergyMeter

PBKD_CONTRACT = 2

_RANGES = (2**32, 2**64)  # counters of old and of newer firmware
_VISIBLE = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True)
class AmdMeter:
    """Read the energy counter of each AMD GPU.

    Domains are `gpu0`, `gpu1`, ... by the index of `amd-smi`. The counter covers the whole board,
    including other processes. A GPU is matched to torch's device since ROCm 6.4, if no environment
    variable hides GPUs.
    """

    name: ClassVar[str] = "amd"

    @contextmanager
    def open(self) -> Iterator[Callable[[], EnergyReading]]:
        """Initialise AMD SMI, and shut it down at the end.

        Yields:
            A function that returns the reading since the meter was opened.

        Raises:
            MeterUnavailableError: The library, the driver, a GPU with a counter, or the permission
                to read one is missing.
        """
        smi = _start()
        try:
            gpus = _gpus(smi)
            counters, lost = _open_counters(smi, gpus)
            devices = _devices(smi, gpus)
            yield lambda: EnergyReading(_read(smi, counters, lost), dict(lost), devices)
        finally:
            with suppress(smi.AmdSmiException):  # a lost GPU must not hide an error of the run
                smi.amdsmi_shut_down()


class _Counter:
    """The energy counter of one GPU, with its wrap-arounds added up."""

    def __init__(self, smi: Any, gpu: Any) -> None:
        self._smi, self._gpu = smi, gpu
        self._last, _ = self._count()
        self._joules = 0.0

    def joules(self) -> float:
        """Return the joules since the counter was opened."""
        now, microjoules = self._count()
        self._joules += _step(self._last, now) * microjoules / 1e6
        self._last = now
        return self._joules

    def _count(self) -> tuple[int, float]:
        """Return the counter, and its unit in microjoules."""
        reading = self._smi.amdsmi_get_energy_count(self._gpu)
        # Before amdsmi 6.2.1 the energy was misnamed 'power'.
        name = "energy_accumulator" if "energy_accumulator" in reading else "power"
        return int(reading[name]), float(reading["counter_resolution"])


def _step(last: int, now: int) -> int:
    """Return a counter's increase; raise `ValueError` if it decreased without wrapping."""
    if now >= last:
        return now - last
    for size in _RANGES:
        if last < size and last > size - size // 16 and now < size // 16:
            return now - last + size
    raise ValueError("its counter ran backwards")


def _start() -> Any:
    """Return the initialised module amdsmi."""
    try:
        import amdsmi
    except ImportError:
        raise MeterUnavailableError(
            "the Python package amdsmi is not installed; pip install 'pbkd[amd]' installs it."
        ) from None
    except (
        Exception
    ) as error:  # the import loads AMD's library, which may be missing or incompatible
        raise MeterUnavailableError(
            "AMD's library cannot be loaded, or its version does not match the Python package"
            f" amdsmi ({type(error).__name__}: {error})."
        ) from None
    try:
        amdsmi.amdsmi_init()
    except amdsmi.AmdSmiException as error:
        raise MeterUnavailableError(
            f"AMD SMI does not start: {_describe(amdsmi, error)}."
        ) from None
    return amdsmi


def _gpus(smi: Any) -> list[Any]:
    try:
        gpus = list(smi.amdsmi_get_processor_handles())
    except smi.AmdSmiException as error:
        raise MeterUnavailableError(f"AMD SMI lists no GPUs: {_describe(smi, error)}.") from None
    if not gpus:
        raise MeterUnavailableError("AMD SMI shows no GPU.")
    return gpus


def _open_counters(smi: Any, gpus: list[Any]) -> tuple[dict[str, _Counter], dict[str, str]]:
    """Return each GPU's counter, and the reasons of GPUs without one."""
    counters, lost = {}, {}
    for index, gpu in enumerate(gpus):
        try:
            counters[f"gpu{index}"] = _Counter(smi, gpu)
        except (smi.AmdSmiException, KeyError, ValueError) as error:
            lost[f"gpu{index}"] = f"its energy counter cannot be read ({_describe(smi, error)})"
    if not counters:
        reasons = "; ".join(f"{domain}: {reason}" for domain, reason in lost.items())
        raise MeterUnavailableError(f"no GPU has a usable counter: {reasons}.")
    return counters, lost


def _devices(smi: Any, gpus: list[Any]) -> dict[str, str]:
    """Return torch's device of each domain, or nothing if that is uncertain."""
    if any(name in os.environ for name in _VISIBLE):
        return {}
    try:
        numbers = [int(smi.amdsmi_get_gpu_enumeration_info(gpu)["hip_id"]) for gpu in gpus]
    except (AttributeError, KeyError, TypeError, ValueError, smi.AmdSmiException):
        return {}  # before ROCm 6.4, or 'N/A'
    return {f"gpu{index}": f"cuda:{number}" for index, number in enumerate(numbers)}


def _read(smi: Any, counters: dict[str, _Counter], lost: dict[str, str]) -> dict[str, float]:
    """Read every counter; move one that fails permanently from `counters` to `lost`."""
    joules = {}
    for domain, counter in list(counters.items()):
        try:
            joules[domain] = counter.joules()
        except (smi.AmdSmiException, KeyError, ValueError) as error:
            del counters[domain]
            lost[domain] = f"its counter cannot be read any more ({_describe(smi, error)})"
    return joules


def _describe(smi: Any, error: Exception) -> str:
    """Describe an error, and what to do about a missing permission."""
    denied = smi.amdsmi_wrapper.AMDSMI_STATUS_NO_PERM
    if getattr(error, "err_code", None) == denied:
        return "no permission; add this user to the groups 'video' and 'render'"
    return " ".join(str(error).split()).rstrip(".")


@hookimpl
def register_meters() -> list[type[EnergyMeter]]:
    """Register the meter `amd`."""
    return [AmdMeter]
