"""Whole runs on a machine with GPUs and CPU counters that the tests move.

The real pynvml loads a stub of NVIDIA's library, built here; the counters of RAPL are files.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from pbkd.config.load import load_config
from pbkd.energy.monitor import EnergyMonitor
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.report.report_data import read_report_data
from pbkd.report.run_page import run_page
from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

STUB = ROOT / "plugins" / "pbkd-nvml" / "nvml_stub.c"
GPU_IS_LOST = -15


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stub `libnvidia-ml.so.1`."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("building the stub of NVML takes a C compiler (cc or gcc)")
    built = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, STUB], check=True)
    return built


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
        return result, (folder / "README.md").read_text(), run_page(read_report_data(folder))

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
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setenv("NVML_STUB", str(tmp_path / "machine"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr("pbkd.energy.monitor._IDLE_SECONDS", 0.1)
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
