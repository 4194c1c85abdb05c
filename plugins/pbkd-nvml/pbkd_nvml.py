"""Energy of NVIDIA GPUs, through NVML (the library behind `nvidia-smi`)."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pbkd import hookimpl
from pbkd.errors import MeterUnavailableError
from pbkd.protocols import EnergyReading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pbkd.protocols import EnergyMeter

PBKD_CONTRACT = 2

_MAX_GAP = 10.0  # seconds between two power readings, beyond which the energy is unknown


@dataclass(frozen=True)
class NvmlMeter:
    """Read each GPU's energy counter, or integrate its power over time if it has none.

    Domains are `gpu0`, `gpu1`, ... by the index of `nvidia-smi`. Only GPUs in
    `CUDA_VISIBLE_DEVICES` are measured, all of them if its format is unknown. The counter
    (millijoules since the driver was loaded) exists since the Volta generation; power (milliwatts)
    is integrated by the trapezoidal rule between readings, and is lost if these are more than 10
    seconds apart. Both cover the whole board, including other processes. A GPU is matched to
    torch's device if CUDA numbers GPUs as NVML does: with a single GPU, with
    CUDA_DEVICE_ORDER=PCI_BUS_ID, or if CUDA_VISIBLE_DEVICES has UUIDs.
    """

    name: ClassVar[str] = "nvml"

    @contextmanager
    def open(self) -> Iterator[Callable[[], EnergyReading]]:
        """Initialise NVML, and shut it down at the end.

        Yields:
            A function that returns the reading since the meter was opened.

        Raises:
            MeterUnavailableError: The library, the driver, a visible GPU with a usable sensor, or
                the permission to read one is missing.
        """
        nvml = _start()
        try:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            indices = _require_visible(nvml, visible)
            sensors, lost = _open_sensors(nvml, indices)
            devices = _devices(nvml, indices, visible)
            yield lambda: EnergyReading(_read(nvml, sensors, lost), dict(lost), devices)
        finally:
            with suppress(nvml.NVMLError):  # a lost GPU must not hide an error of the run
                nvml.nvmlShutdown()


def _start() -> Any:
    """Return the initialised module pynvml."""
    try:
        import pynvml
    except ImportError:
        raise MeterUnavailableError(
            "the Python package nvidia-ml-py is not installed; install it to measure GPUs."
        ) from None
    reasons = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "this machine has no NVIDIA driver library (NVML)",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
        pynvml.NVML_ERROR_NO_PERMISSION: "this user has no permission to use the NVIDIA driver",
    }
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        reason = reasons.get(error.value, f"the NVIDIA driver library (NVML) fails with '{error}'")
        raise MeterUnavailableError(f"{reason}.") from None
    return pynvml


def _require_visible(nvml: Any, visible: str | None) -> Sequence[int]:
    """Return the indices of the visible GPUs; raise `MeterUnavailableError` if there is none."""
    try:
        indices = _visible(nvml, visible)
    except nvml.NVMLError as error:
        raise MeterUnavailableError(f"NVML cannot list the GPUs: {error}.") from None
    if not indices:
        raise MeterUnavailableError(
            "NVML shows no GPU, or the environment variable CUDA_VISIBLE_DEVICES hides them all."
        )
    return indices


def _open_sensors(
    nvml: Any, indices: Sequence[int]
) -> tuple[dict[str, Callable[[], float]], dict[str, str]]:
    """Return a function per GPU that reads its joules, and the reasons of GPUs without one."""
    sensors, lost = {}, {}
    for index in indices:
        try:
            sensors[f"gpu{index}"] = _open_sensor(nvml, nvml.nvmlDeviceGetHandleByIndex(index))
        except nvml.NVMLError as error:
            lost[f"gpu{index}"] = f"neither its energy nor its power can be read ({error})"
    if not sensors:
        reasons = "; ".join(f"{domain}: {reason}" for domain, reason in lost.items())
        raise MeterUnavailableError(f"no GPU has a usable sensor: {reasons}.")
    return sensors, lost


def _visible(nvml: Any, visible: str | None) -> Sequence[int]:
    """Return the indices of the GPUs in a value of CUDA_VISIBLE_DEVICES.

    As in CUDA, the list ends before the first invalid entry. Entries other than an index or (the
    prefix of) a GPU's UUID, such as MIG slices, select all GPUs.
    """
    everything = range(nvml.nvmlDeviceGetCount())
    if visible is None:
        return everything
    chosen: list[int] = []
    for entry in map(str.strip, visible.split(",")):
        if entry.removeprefix("-").isdecimal():
            matches = [index for index in everything if index == int(entry)]
        elif not entry:
            break
        elif entry.startswith("GPU-"):
            matches = [index for index in everything if _uuid(nvml, index).startswith(entry)]
        else:
            return everything
        if len(matches) != 1:
            break
        chosen += matches
    return chosen


def _devices(nvml: Any, indices: Sequence[int], visible: str | None) -> dict[str, str]:
    """Return torch's device of each domain, or nothing if that is uncertain."""
    entries = [entry.strip() for entry in (visible or "").split(",") if entry.strip()]
    by_uuid = bool(entries) and all(entry.startswith("GPU-") for entry in entries)
    by_number = all(entry.removeprefix("-").isdecimal() for entry in entries)
    in_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or nvml.nvmlDeviceGetCount() == 1
    if len({*indices}) < len(indices) or not (by_uuid or (by_number and in_order)):
        return {}
    return {f"gpu{index}": f"cuda:{position}" for position, index in enumerate(indices)}


def _uuid(nvml: Any, index: int) -> str:
    """Return a GPU's UUID, or "" if NVML has none."""
    try:
        return str(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index)))
    except nvml.NVMLError:
        return ""


def _open_sensor(nvml: Any, gpu: Any) -> Callable[[], float]:
    """Return a function that reads a GPU's joules since now."""
    try:
        return _counted(nvml, gpu)
    except nvml.NVMLError:
        return _integrated(nvml, gpu)


def _counted(nvml: Any, gpu: Any) -> Callable[[], float]:
    """Return a function that reads a GPU's energy counter."""
    start = nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    return lambda: (nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) - start) / 1000


def _integrated(nvml: Any, gpu: Any) -> Callable[[], float]:
    """Return a function that integrates a GPU's power from each call to the next."""
    watts: float = nvml.nvmlDeviceGetPowerUsage(gpu) / 1000
    seconds, joules = time.monotonic(), 0.0

    def read() -> float:
        nonlocal watts, seconds, joules
        last_watts, last_seconds = watts, seconds
        watts, seconds = nvml.nvmlDeviceGetPowerUsage(gpu) / 1000, time.monotonic()
        if seconds - last_seconds > _MAX_GAP:
            raise ValueError(f"its power was not read for {seconds - last_seconds:.0f} s")
        joules += (last_watts + watts) / 2 * (seconds - last_seconds)
        return joules

    return read


def _read(
    nvml: Any, sensors: dict[str, Callable[[], float]], lost: dict[str, str]
) -> dict[str, float]:
    """Read every sensor; move one that fails permanently from `sensors` to `lost`."""
    joules = {}
    for domain, read in list(sensors.items()):
        try:
            joules[domain] = read()
        except (nvml.NVMLError, ValueError) as error:
            gap = isinstance(error, ValueError)
            lost[domain] = str(error) if gap else f"its sensor stopped answering ({error})"
            del sensors[domain]
    return joules


@hookimpl
def register_meters() -> list[type[EnergyMeter]]:
    """Register the meter `nvml`."""
    return [NvmlMeter]
