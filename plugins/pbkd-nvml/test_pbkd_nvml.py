"""The real pynvml loads a stub of NVIDIA's library, built here, whose sensors the tests move."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pynvml
import pytest
from pbkd_nvml import NvmlMeter

from pbkd.config.load import load_config
from pbkd.energy.monitor import EnergyMonitor
from pbkd.errors import MeterUnavailableError
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.report.report_data import read_record
from pbkd.report.run_page import run_page

if TYPE_CHECKING:
    from collections.abc import Iterator

# A value comes from the file $NVML_STUB (lines of KEY VALUE); a negative one is an error code.
STUB = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long long look(const char *key, long long otherwise) {
    char name[64];
    long long value;
    FILE *file = fopen(getenv("NVML_STUB"), "r");
    if (!file) return otherwise;
    while (fscanf(file, "%63s %lld", name, &value) == 2)
        if (!strcmp(name, key)) otherwise = value;
    fclose(file);
    return otherwise;
}
static int look_up(const char *what, long index, long long otherwise, long long *value) {
    char key[64];
    snprintf(key, sizeof key, "%s%ld", what, index);
    *value = look(key, otherwise);
    return *value < 0 ? (int)-*value : 0;
}
static int note(const char *call) {
    char path[4096];
    FILE *file;
    snprintf(path, sizeof path, "%s.calls", getenv("NVML_STUB"));
    if ((file = fopen(path, "a"))) { fprintf(file, "%s\n", call); fclose(file); }
    return (int)-look(call, 0);
}
static long number(void *gpu) { return (long)gpu - 1; }

int nvmlInit_v2(void) { return note("init"); }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return note("init"); }
int nvmlShutdown(void) { return note("shutdown"); }
const char *nvmlErrorString(int code) { (void)code; return "an error of the stub"; }
int nvmlDeviceGetCount_v2(unsigned *count) {
    long long value = look("count", 2);
    *count = (unsigned)value;
    return value < 0 ? (int)-value : 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) {
    long long ignored;
    *gpu = (void *)((long)index + 1);
    return look_up("handle", index, 0, &ignored);
}
int nvmlDeviceGetUUID(void *gpu, char *uuid, unsigned size) {
    char c = (char)('a' + number(gpu));
    snprintf(uuid, size, "GPU-%c%c%c%c0000-1111-2222-3333-444444444444", c, c, c, c);
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *gpu, unsigned long long *millijoules) {
    long long value;
    int code = look_up("energy", number(gpu), -3, &value);
    *millijoules = (unsigned long long)value;
    return code;
}
int nvmlDeviceGetPowerUsage(void *gpu, unsigned *milliwatts) {
    long long value;
    int code = look_up("power", number(gpu), -3, &value);
    *milliwatts = (unsigned)value;
    return code;
}
"""
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

    `devices` are those of the last reading.
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
    source, built = folder / "stub.c", folder / "libnvidia-ml.so.1"
    source.write_text(STUB)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, source], check=True)
    return folder


def python(library: Path, folder: Path, *args: str, visible: str | None = None) -> str:
    """Run Python in a process that finds NVML in `library`; return what it prints."""
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    environment |= {
        "LD_LIBRARY_PATH": str(library),
        "NVML_STUB": str(folder / "machine"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, *args], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def drive(library: Path, folder: Path, *states: dict[str, Any], visible: str | None = None) -> Seen:
    printed = json.loads(python(library, folder, "-c", DRIVER, json.dumps(states), visible=visible))
    calls = folder / "machine.calls"
    return Seen(
        joules=[joules for joules, _ in printed["readings"]],
        lost=[lost for _, lost in printed["readings"]],
        error=printed["error"],
        calls=calls.read_text().split() if calls.exists() else [],
        devices=printed["devices"],
    )


def test_counters_of_two_gpus_count_from_the_opening(library: Path, tmp_path: Path) -> None:
    seen = drive(
        library,
        tmp_path,
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


def test_without_a_counter_power_is_integrated_by_trapezoids(library: Path, tmp_path: Path) -> None:
    seen = drive(
        library,
        tmp_path,
        {"energy0": 0, "power0": 1, "power1": 100_000, "seconds": 50.0},
        {"power1": 300_000, "seconds": 52.0},
        {"power1": 100_000, "seconds": 53.0, "energy0": 9_000},
        {"seconds": 54.5},
    )
    assert [joules["gpu1"] for joules in seen.joules] == [400.0, 600.0, 750.0]
    assert [joules["gpu0"] for joules in seen.joules] == [0.0, 9.0, 9.0]


def test_power_that_was_not_read_for_long_is_lost(library: Path, tmp_path: Path) -> None:
    seen = drive(
        library,
        tmp_path,
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
def test_a_gpus_device_is_told_where_it_is_certain(
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    order: str | None,
    visible: str | None,
    devices: dict[str, str],
) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    if order:
        monkeypatch.setenv("CUDA_DEVICE_ORDER", order)
    state = {"count": 3, "energy0": 1, "energy1": 1, "energy2": 1}
    assert drive(library, tmp_path, state, {}, visible=visible).devices == devices


@pytest.mark.parametrize("sensor", ["energy1", "power1"])
def test_a_sensor_that_vanishes_is_lost_for_good_and_the_other_goes_on(
    library: Path, tmp_path: Path, sensor: str
) -> None:
    seen = drive(
        library,
        tmp_path,
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
def test_a_gpu_without_a_usable_sensor_is_lost_from_the_start(
    library: Path, tmp_path: Path, state: dict[str, int], reason: str
) -> None:
    seen = drive(library, tmp_path, {"energy0": 0, **state}, {"energy0": 1_000})
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
    library: Path, tmp_path: Path, state: dict[str, int], reason: str, calls: list[str]
) -> None:
    seen = drive(library, tmp_path, state)
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
def test_only_visible_gpus_count(
    library: Path, tmp_path: Path, visible: str, gpus: list[str]
) -> None:
    state = {"count": 3, "energy0": 1, "energy1": 1, "energy2": 1}
    seen = drive(library, tmp_path, state, {}, visible=visible)
    assert sorted(seen.joules[0]) == gpus
    assert seen.lost == [{}]


@pytest.mark.parametrize("visible", ["", "-1"])
def test_without_a_visible_gpu_the_meter_is_unavailable(
    library: Path, tmp_path: Path, visible: str
) -> None:
    seen = drive(library, tmp_path, {"energy0": 1, "energy1": 1}, visible=visible)
    assert seen.error is not None
    assert "CUDA_VISIBLE_DEVICES" in seen.error[1]
    assert seen.calls == ["init", "shutdown"]


@pytest.mark.parametrize("fault", [{"raise": 1}, {"shutdown": GPU_IS_LOST}])
def test_nvml_is_shut_down_whatever_happens(
    library: Path, tmp_path: Path, fault: dict[str, int]
) -> None:
    seen = drive(library, tmp_path, {"energy0": 1}, {**fault, "energy0": 1_001})
    assert seen.joules == [{"gpu0": 1.0}]
    assert seen.error == (["KeyError", ""] if "raise" in fault else None)
    assert seen.calls == ["init", "shutdown"]


def test_without_the_library_the_meter_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").touch()  # hides a real one from the loader, and fails to load
    seen = drive(tmp_path, tmp_path, {})
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


PHASES = ["planning", "teacher-fed", "scoring", "student-fed", "recalibration", "fine-tuning",
          "evaluation"]  # fmt: skip
RANGE = 262_143_328_850  # microjoules, after which RAPL starts anew


def script(**watts: float) -> dict[str, dict[str, int]]:
    """Let `gpu0`, `package0`, ... take so many joules in a rest, twice as many in the first phase.

    In every further phase it is as many more. RAPL's counters wrap around in the third phase.
    """
    states: dict[str, dict[str, int]] = {}
    totals = dict.fromkeys(watts, 0.0)
    for number, window in enumerate(["before", "idle", *PHASES]):
        states[window] = {}
        for key, joules in watts.items():
            totals[key] += number * joules
            if key.startswith("gpu"):
                states[window][f"energy{key[-1]}"] = int(1000 * totals[key])
            else:
                count = (RANGE - 15_000_000 + int(1_000_000 * totals[key])) % RANGE
                states[window][f"intel-rapl:{key[-1]}/energy_uj"] = count
    return states


def powercap(root: Path, *packages: int) -> None:
    for package in packages:
        zone = root / f"intel-rapl:{package}"
        zone.mkdir()
        (zone / "name").write_text(f"package-{package}")
        (zone / "max_energy_range_uj").write_text(str(RANGE))


class Machine:
    """Moves its sensors, whenever a window opens, to where the test wants them in it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root, self._monkeypatch = root, monkeypatch
        self._seen: dict[str, int] = {}

    def refuse(self, refused: Path) -> None:
        """Refuse to read a file; its mode would not keep root, who may run this test, out."""
        plain = Path.read_text

        def guarded(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
            if path == refused:
                raise PermissionError(13, "Permission denied", str(path))
            return plain(path, encoding=encoding, errors=errors)

        self._monkeypatch.setattr(Path, "read_text", guarded)

    def run(self, states: dict[str, dict[str, int]]) -> tuple[dict[str, Any], str, str]:
        """Return the result, the card and the page of a run while the machine is in `states`."""
        plain = EnergyMonitor.window

        @contextmanager
        def window(monitor: EnergyMonitor, name: str) -> Iterator[None]:
            with plain(monitor, name):
                self._show(states.get(name, {}))
                yield

        self._monkeypatch.setattr(EnergyMonitor, "window", window)
        self._show(states["before"])
        meters = f"[nvml, {{name: rapl, root: '{self._root}'}}, {{name: estimate, watts: 15}}]"
        config = load_config(
            [
                f"meters={meters}", f"out={self._root / 'runs'}", "threads=1",
                "keep=[stem*, head*, conv1*, conv2*, conv3_1]",
                "distill.epochs=1", "distill.student_fed_epochs=1", "finetune.epochs=1",
            ]
        )  # fmt: skip
        folder = Path(run(config, build_registry()).folder)
        result = json.loads((folder / "result.json").read_text())
        return result, (folder / "README.md").read_text(), run_page(read_record(folder))

    def _show(self, state: dict[str, int]) -> None:
        self._seen.update(state)
        gpus = [f"{key} {value}\n" for key, value in self._seen.items() if "/" not in key]
        files = {key: str(value) for key, value in self._seen.items() if "/" in key}
        for name, text in {**files, "machine": "".join(gpus)}.items():
            # At once: the meters read meanwhile.
            new = self._root / "new"
            new.write_text(text)
            new.replace(self._root / name)


@pytest.fixture
def machine(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with GPUs and CPU packages, in the place of this one."""
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library / "libnvidia-ml.so.1")))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setenv("NVML_STUB", str(tmp_path / "machine"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr("pbkd.energy.monitor._REST", 0.1)
    return Machine(tmp_path, monkeypatch)


def test_a_run_has_the_joules_of_every_phase_and_device(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two GPUs of different power, and a CPU whose counter wraps around in the scoring."""
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    powercap(tmp_path, 0)
    watts = {"gpu0": 100.0, "gpu1": 4.0, "package0": 2.0}
    result, card, page = machine.run(script(**watts))
    for number, phase in enumerate(result["phases"], 2):
        assert phase["name"] == PHASES[number - 2]
        assert phase["joules"].pop("cpu-estimate", 0.0) >= 0.0
        assert phase["joules"] == pytest.approx(
            {"gpu0": 100.0 * number, "gpu1": 4.0 * number, "cpu-package-0": 2.0 * number}
        )
    spent = result["energy"]
    times = sum(range(2, 9))
    domains = {domain["name"]: domain for domain in spent["domains"]}
    assert {name: domain["device"] for name, domain in domains.items()} == {
        "gpu0": "cuda:0", "gpu1": "cuda:1", "cpu-package-0": "cpu", "cpu-estimate": "cpu",
    }  # fmt: skip
    for name, each in zip(("gpu0", "gpu1", "cpu-package-0"), watts.values(), strict=True):
        assert domains[name]["joules"] == pytest.approx(times * each)
        assert domains[name]["idle_watts"] * spent["idle_seconds"] == pytest.approx(each)
        idle = times * each - domains[name]["above_idle"]
        assert idle > domains[name]["idle_watts"] * sum(p["seconds"] for p in result["phases"])
        assert domains[name]["reason"] is None
    assert domains["cpu-estimate"]["joules"] > 0
    assert "15 W" in domains["cpu-estimate"]["estimate"]
    # No GPU did anything: with idle devices the run took 53 times as much as without.
    assert spent["all_devices"]["joules"] == pytest.approx(times * 106.0)
    assert spent["in_use"]["joules"] == pytest.approx(times * 2.0)
    (worker,) = spent["workers"]
    assert worker["joules"] == pytest.approx({"teacher-fed": 6.0, "student-fed": 10.0})
    for text in (card, page):
        assert "all devices: gpu0 + gpu1 + cpu-package-0" in text
        assert "cpu-estimate (an estimate)" in text
        assert f"measured for {spent['idle_seconds']:.1f} s before the run" in text
    assert f"| gpu0 | cuda:0 | {domains['gpu0']['idle_watts']:.1f} | 3500.0 | " in card
    assert "'cpu-estimate' is an estimate, not a measurement: CPU seconds" in card


def test_a_run_on_a_failing_machine_says_what_it_does_not_know(
    machine: Machine, tmp_path: Path
) -> None:
    """A GPU is lost in mid-run, and a CPU's counter may not be read."""
    powercap(tmp_path, 0, 1)
    states = script(gpu0=100.0, gpu1=4.0, package0=2.0, package1=2.0)
    for phase in PHASES[PHASES.index("student-fed") :]:
        states[phase]["energy1"] = GPU_IS_LOST
    machine.refuse(tmp_path / "intel-rapl:1" / "energy_uj")
    result, card, page = machine.run(states)
    for number, phase in enumerate(result["phases"], 2):
        late = number - 2 >= PHASES.index("student-fed")
        assert phase["joules"].get("gpu1") == (None if late else 4.0 * number)
        assert phase["joules"]["gpu0"] == 100.0 * number
        assert "cpu-package-1" not in phase["joules"]
        assert ("(GPU is lost)" in phase["joules_reason"]) == late
    spent = result["energy"]
    domains = {domain["name"]: domain for domain in spent["domains"]}
    assert domains["gpu0"]["joules"] == 3500.0
    assert domains["gpu1"]["joules"] is domains["gpu1"]["above_idle"] is None
    assert domains["gpu1"]["reason"] == "its sensor stopped answering (GPU is lost)"
    assert domains["cpu-package-1"]["joules"] is domains["cpu-package-1"]["idle_watts"] is None
    remedy = f"sudo chmod a+r {tmp_path}/intel-rapl:*/energy_uj"
    assert remedy in domains["cpu-package-1"]["reason"]
    assert spent["all_devices"]["joules"] is None
    assert "GPU is lost" in spent["all_devices"]["reason"]
    assert spent["in_use"]["joules"] is None
    assert spent["in_use"]["reason"].startswith("gpu0, gpu1: it is not known which device")
    assert spent["workers"][0]["joules"] is None
    assert remedy in spent["workers"][0]["reason"]
    for text in (card, page):
        assert "its sensor stopped answering (GPU is lost)" in text
        assert "sudo chmod a+r" in text
        assert "not measured" in text
