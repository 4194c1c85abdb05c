"""The real pynvml loads a stub of NVIDIA's library, built here, whose sensors the tests move."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from pbkd_nvml import NvmlMeter

from pbkd.errors import MeterUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

Drive: TypeAlias = "Callable[..., Seen]"
STUB = Path(__file__).with_name("nvml_stub.c")
NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, GPU_IS_LOST = -3, -4, -9, -15

# Opens the meter in the first state of the machine and reads it in each of the others.
DRIVER = r"""
import json, os, sys, time
from pathlib import Path
from pbkd.errors import MeterUnavailableError
from pbkd_nvml import NvmlMeter

machine, seen = {}, {"readings": [], "error": None, "devices": {}}

def show(state):
    machine.update(state)
    time.monotonic = lambda: machine.get("seconds", 0.0)
    lines = [f"{key} {value}\n" for key, value in machine.items() if key != "seconds"]
    Path(os.environ["NVML_STUB"]).write_text("".join(lines))

first, *others = json.loads(sys.argv[1])
show(first)
try:
    with NvmlMeter().open() as read:
        for state in others:
            show(state)
            reading = read()
            seen["readings"].append([dict(reading.joules), dict(reading.lost)])
            seen["devices"] = dict(reading.devices)
        if "raise" in machine:
            raise KeyError
except (MeterUnavailableError, KeyError) as error:
    seen["error"] = [type(error).__name__, str(error)]
print(json.dumps(seen))
"""


@dataclass
class Seen:
    """What a process saw: joules and losses of each reading, its error, its calls of NVML.

    `devices` is taken from the last reading.
    """

    joules: list[dict[str, float]]
    lost: list[dict[str, str]]
    error: list[str] | None
    calls: list[str]
    devices: dict[str, str]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stub `libnvidia-ml.so.1`."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("building the stub of NVML takes a C compiler (cc or gcc)")
    folder = tmp_path_factory.mktemp("nvml")
    built = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, STUB], check=True)
    return folder


def python(library: Path, folder: Path, *args: str, visible: str | None = None) -> str:
    """Run Python in a process that finds NVML in `library`; return what it prints."""
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    environment |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    environment |= {"LD_LIBRARY_PATH": str(library), "NVML_STUB": str(folder / "machine")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, *args], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_meter(
    library: Path, folder: Path, *states: dict[str, Any], visible: str | None = None
) -> Seen:
    printed = json.loads(python(library, folder, "-c", DRIVER, json.dumps(states), visible=visible))
    calls = folder / "machine.calls"
    return Seen(
        joules=[joules for joules, _ in printed["readings"]],
        lost=[lost for _, lost in printed["readings"]],
        error=printed["error"],
        calls=calls.read_text().split() if calls.exists() else [],
        devices=printed["devices"],
    )


@pytest.fixture
def drive(library: Path, tmp_path: Path) -> Drive:
    """A function that runs the meter in a process, in each of the states of a machine."""
    return partial(run_meter, library, tmp_path)


def test_counters_of_two_gpus_count_from_the_opening(drive: Drive) -> None:
    seen = drive(
        {"energy0": 5_000_000_000_000, "energy1": 7_000},
        {},
        {"energy0": 5_000_000_001_500},
        {"energy0": 5_000_000_002_000, "energy1": 67_000},
    )
    assert seen.joules == [
        {"gpu0": 0.0, "gpu1": 0.0},
        {"gpu0": 1.5, "gpu1": 0.0},
        {"gpu0": 2.0, "gpu1": 60.0},
    ]
    assert seen.lost == [{}, {}, {}]
    assert seen.calls == ["init", "shutdown"]


def test_without_a_counter_power_is_integrated_by_trapezoids(drive: Drive) -> None:
    seen = drive(
        {"energy0": 0, "power0": 1, "power1": 100_000, "seconds": 50.0},
        {"power1": 300_000, "seconds": 52.0},
        {"power1": 100_000, "seconds": 53.0, "energy0": 9_000},
        {"seconds": 54.5},
    )
    assert [joules["gpu1"] for joules in seen.joules] == [400.0, 600.0, 750.0]
    assert [joules["gpu0"] for joules in seen.joules] == [0.0, 9.0, 9.0]


def test_power_that_was_not_read_for_long_is_lost(drive: Drive) -> None:
    seen = drive(
        {"energy0": 0, "power1": 100_000, "seconds": 50.0},
        {"seconds": 59.0, "energy0": 1_000},
        {"seconds": 96.0, "energy0": 2_000},
        {"seconds": 97.0, "energy0": 3_000},
    )
    assert [joules.get("gpu1") for joules in seen.joules] == [900.0, None, None]
    assert [joules["gpu0"] for joules in seen.joules] == [1.0, 2.0, 3.0]
    assert seen.lost[1] == seen.lost[2] == {"gpu1": "its power was not read for 37 s"}


@pytest.mark.parametrize(
    ("order", "visible", "devices"),
    [
        (None, None, {}),
        ("PCI_BUS_ID", None, {"gpu0": "cuda:0", "gpu1": "cuda:1", "gpu2": "cuda:2"}),
        ("PCI_BUS_ID", "2,0", {"gpu2": "cuda:0", "gpu0": "cuda:1"}),
        ("PCI_BUS_ID", "1,1", {}),
        ("FASTEST_FIRST", "2,0", {}),
        (None, "GPU-cccc,GPU-aaaa", {"gpu2": "cuda:0", "gpu0": "cuda:1"}),
        ("PCI_BUS_ID", "MIG-12345678-0000-1111-2222-333333333333", {}),
    ],
)
def test_a_gpus_device_is_reported_where_it_is_certain(
    drive: Drive,
    monkeypatch: pytest.MonkeyPatch,
    order: str | None,
    visible: str | None,
    devices: dict[str, str],
) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    if order:
        monkeypatch.setenv("CUDA_DEVICE_ORDER", order)
    state = {"count": 3, "energy0": 1, "energy1": 1, "energy2": 1}
    assert drive(state, {}, visible=visible).devices == devices


@pytest.mark.parametrize("sensor", ["energy1", "power1"])
def test_a_vanished_sensor_is_lost_and_the_other_goes_on(drive: Drive, sensor: str) -> None:
    seen = drive(
        {"energy0": 1_000, sensor: 1_000},
        {"energy0": 2_000, sensor: 2_000},
        {"energy0": 3_000, sensor: GPU_IS_LOST},
        {"energy0": 4_000, sensor: 9_000},
    )
    assert seen.error is None
    assert [joules["gpu0"] for joules in seen.joules] == [1.0, 2.0, 3.0]
    assert ["gpu1" in joules for joules in seen.joules] == [True, False, False]
    assert seen.lost[0] == {}
    assert seen.lost[1] == seen.lost[2] == {"gpu1": "its sensor stopped answering (GPU is lost)"}
    assert seen.calls == ["init", "shutdown"]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({}, "Not Supported"),
        ({"handle1": NO_PERMISSION, "energy1": 5}, "Insufficient Permissions"),
    ],
)
def test_a_gpu_without_a_sensor_is_lost(drive: Drive, state: dict[str, int], reason: str) -> None:
    seen = drive({"energy0": 0, **state}, {"energy0": 1_000})
    assert seen.joules == [{"gpu0": 1.0}]
    assert list(seen.lost[0]) == ["gpu1"]
    assert reason in seen.lost[0]["gpu1"]


@pytest.mark.parametrize(
    ("state", "reason", "calls"),
    [
        ({"init": NO_PERMISSION}, "this user has no permission", ["init"]),
        ({"init": DRIVER_NOT_LOADED}, "the NVIDIA driver is not loaded", ["init"]),
        ({"init": -999}, "'Unknown Error'", ["init"]),
        ({"init": -777}, "'an error of the stub'", ["init"]),
        ({"count": 0}, "NVML shows no GPU", ["init", "shutdown"]),
        ({"count": NO_PERMISSION}, "Insufficient Permissions", ["init", "shutdown"]),
        (
            {"energy0": NO_PERMISSION, "power0": NO_PERMISSION},
            "gpu0: neither its energy nor its power can be read (Insufficient Permissions);"
            " gpu1: neither its energy nor its power can be read (Not Supported)",
            ["init", "shutdown"],
        ),
    ],
)
def test_a_machine_without_a_sensor_says_why(
    drive: Drive, state: dict[str, int], reason: str, calls: list[str]
) -> None:
    seen = drive(state)
    assert seen.error is not None
    assert seen.error[0] == "MeterUnavailableError"
    assert reason in seen.error[1]
    assert seen.calls == calls


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        ("1", ["gpu1"]),
        ("2, 0,2", ["gpu0", "gpu2"]),
        ("0,-1,1", ["gpu0"]),
        ("1,7,0", ["gpu1"]),
        ("0,", ["gpu0"]),
        ("GPU-cccc", ["gpu2"]),
        ("GPU-bbbb0000-1111-2222-3333-444444444444,0", ["gpu0", "gpu1"]),
        ("2,GPU-,0", ["gpu2"]),
        ("MIG-12345678-0000-1111-2222-333333333333", ["gpu0", "gpu1", "gpu2"]),
    ],
)
def test_only_visible_gpus_count(drive: Drive, visible: str, gpus: list[str]) -> None:
    state = {"count": 3, "energy0": 1, "energy1": 1, "energy2": 1}
    seen = drive(state, {}, visible=visible)
    assert sorted(seen.joules[0]) == gpus
    assert seen.lost == [{}]


@pytest.mark.parametrize("visible", ["", "-1"])
def test_without_a_visible_gpu_it_is_unavailable(drive: Drive, visible: str) -> None:
    seen = drive({"energy0": 1, "energy1": 1}, visible=visible)
    assert seen.error is not None
    assert "CUDA_VISIBLE_DEVICES" in seen.error[1]
    assert seen.calls == ["init", "shutdown"]


@pytest.mark.parametrize("fault", [{"raise": 1}, {"shutdown": GPU_IS_LOST}])
def test_nvml_is_always_shut_down(drive: Drive, fault: dict[str, int]) -> None:
    seen = drive({"energy0": 1}, {**fault, "energy0": 1_001})
    assert seen.joules == [{"gpu0": 1.0}]
    assert seen.error == (["KeyError", ""] if "raise" in fault else None)
    assert seen.calls == ["init", "shutdown"]


def test_without_the_library_the_meter_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").touch()  # hides a real one from the loader, and fails to load
    seen = run_meter(tmp_path, tmp_path, {})
    assert seen.error == [
        "MeterUnavailableError",
        "this machine has no NVIDIA driver library (NVML).",
    ]


def test_without_the_package_the_meter_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(MeterUnavailableError, match="nvidia-ml-py"), NvmlMeter().open():
        pytest.fail("there is nothing to open")


def test_the_meter_keeps_its_contract(library: Path, tmp_path: Path) -> None:
    (tmp_path / "machine").write_text("energy0 1000\npower1 70000\n")
    script = (
        "from pbkd.testing import check_meter; from pbkd_nvml import NvmlMeter\n"
        "with NvmlMeter().open() as read: print(sorted(read().joules))\n"
        "check_meter(NvmlMeter())"
    )
    assert python(library, tmp_path, "-c", script) == "['gpu0', 'gpu1']\n"
    assert (tmp_path / "machine.calls").read_text().split() == ["init", "shutdown"] * 3
