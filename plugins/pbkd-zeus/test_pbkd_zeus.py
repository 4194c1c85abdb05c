from __future__ import annotations

import sys
from dataclasses import dataclass, field
from inspect import signature
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pbkd_zeus import _PARTS, _WHOLE, ZeusMeter, register_meters

from pbkd.errors import MeterUnavailableError
from pbkd.testing import check_meter

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Gpu:
    """A GPU as `zeus.device.gpu.GPU` documents it: millijoules since the driver was loaded."""

    gpu_index: int
    millijoules: int = 0
    counted: bool = True
    failure: Exception | None = None

    def supports_get_total_energy_consumption(self) -> bool:
        return self.counted

    def get_total_energy_consumption(self) -> int:
        if self.failure:
            raise self.failure
        return self.millijoules


@dataclass
class Chip:
    """A chip as `zeus.device.soc.SoC` documents it: cumulative millijoules, None: not measured."""

    parts: dict[str, Any]

    def get_total_energy_consumption(self) -> SimpleNamespace:
        return SimpleNamespace(**self.parts)


@dataclass
class Machine:
    """What Zeus finds; nothing, as long as a test puts nothing there."""

    gpus: list[Gpu] = field(default_factory=list)
    chip: Chip | None = None

    def get_gpus(self) -> Machine:
        if not self.gpus:
            raise RuntimeError("NVML and AMDSMI unavailable.")
        return self

    def get_soc(self) -> Chip:
        if self.chip is None:
            raise RuntimeError("No observable SoC was found.")
        return self.chip


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    device = ModuleType("zeus.device")
    device.get_gpus, device.get_soc = found.get_gpus, found.get_soc  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "zeus.device", device)
    return found


def reason() -> str:
    with pytest.raises(MeterUnavailableError) as caught, ZeusMeter().open():
        pytest.fail("there is nothing to open")
    return str(caught.value)


def test_gpus_count_from_the_opening_by_their_own_numbers(machine: Machine) -> None:
    machine.gpus = [Gpu(0, 5_000_000_000_000), Gpu(2, 7_000)]
    with ZeusMeter().open() as read:
        assert read().joules == {"gpu0": 0.0, "gpu2": 0.0}
        machine.gpus[0].millijoules += 1_500
        machine.gpus[1].millijoules += 60_000
        assert read().joules == {"gpu0": 1.5, "gpu2": 60.0}
        assert read().lost == {}


def test_a_gpu_without_a_counter_is_lost_and_not_estimated(machine: Machine) -> None:
    machine.gpus = [Gpu(0), Gpu(1, counted=False), Gpu(2, failure=OSError("no permission"))]
    with ZeusMeter().open() as read:
        reading = read()
    assert reading.joules == {"gpu0": 0.0}
    assert reading.lost == {
        "gpu1": "it has no energy counter that Zeus trusts",
        "gpu2": "its energy cannot be read (OSError: no permission)",
    }


def test_a_gpu_that_stops_answering_is_lost_for_good_and_the_other_goes_on(
    machine: Machine,
) -> None:
    machine.gpus = [Gpu(0), Gpu(1)]
    with ZeusMeter().open() as read:
        machine.gpus[0].failure = RuntimeError("GPU is lost")
        machine.gpus[1].millijoules = 2_000
        assert read().joules == {"gpu1": 2.0}
        machine.gpus[0].failure = None
        reading = read()
    assert reading.joules == {"gpu1": 2.0}
    assert reading.lost == {"gpu0": "it stopped answering (RuntimeError: GPU is lost)"}


def test_the_parts_of_apple_silicon_are_counted_once(machine: Machine) -> None:
    machine.chip = Chip(
        {
            "cpu_total_mj": 1_000,
            "efficiency_cores_mj": [100, 100],  # within the processor's
            "performance_cluster_mj": [800],
            "dram_mj": 50,
            "gpu_mj": 2_000,
            "gpu_sram_mj": None,
            "ane_mj": 0,
        }
    )
    with ZeusMeter().open() as read:
        machine.chip.parts |= {"cpu_total_mj": 4_000, "gpu_mj": 2_500, "dram_mj": 150}
        joules = read().joules
    assert joules == {"soc-cpu": 3.0, "soc-gpu": 0.5, "soc-dram": 0.1, "soc-ane": 0.0}


@pytest.mark.parametrize(("total", "domains"), [(9_000.0, ["soc"]), (None, ["soc-cpu", "soc-gpu"])])
def test_a_jetson_board_is_one_domain_where_it_is_measured_as_a_whole(
    machine: Machine, total: float | None, domains: list[str]
) -> None:
    parts = {"cpu_energy_mj": 1_000.0, "gpu_energy_mj": 2_000.0, "total_energy_mj": total}
    machine.chip = Chip(parts)
    with ZeusMeter().open() as read:
        assert sorted(read().joules) == domains


def test_a_machine_without_a_counter_says_why(machine: Machine) -> None:
    nothing = "chip: RuntimeError: No observable SoC was found."
    assert reason() == (
        "Zeus finds no energy counter (GPUs: RuntimeError: NVML and AMDSMI unavailable.;"
        f" {nothing})."
    )
    machine.gpus = [Gpu(1, counted=False)]
    assert reason() == (
        "Zeus finds no energy counter (gpu1: it has no energy counter that Zeus trusts;"
        f" {nothing})."
    )
    machine.chip = Chip({"cpu_total_mj": None})
    assert "chip: none of its parts is measured" in reason()


@pytest.mark.parametrize("fill", [lambda _: None, lambda m: m.gpus.append(Gpu(0, 5))])
def test_it_keeps_the_contract(machine: Machine, fill: Callable[[Machine], None]) -> None:
    fill(machine)
    check_meter(ZeusMeter())


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeus.device", None)
    assert reason() == "the Python package zeus is not installed: pip install 'pbkd[zeus]'."


def test_the_package_itself_has_what_the_meter_asks_for() -> None:
    pytest.importorskip("zeus.device", reason="needs pip install 'pbkd[zeus]'")
    from zeus.device.gpu.common import GPU, GPUs
    from zeus.device.soc.apple import AppleSiliconMeasurement
    from zeus.device.soc.common import SoC
    from zeus.device.soc.jetson import JetsonMeasurement

    measured = {*vars(AppleSiliconMeasurement()), *vars(JetsonMeasurement())}
    assert {*_PARTS, *_WHOLE} <= measured
    assert isinstance(GPUs.gpus, property)
    assert list(signature(GPU).parameters) == ["gpu_index"]
    for kind, method in (
        (GPU, "supports_get_total_energy_consumption"),
        (GPU, "get_total_energy_consumption"),
        (SoC, "get_total_energy_consumption"),
    ):
        assert callable(getattr(kind, method))
    check_meter(ZeusMeter())  # which measures, or says why it cannot


def test_it_is_registered() -> None:
    assert [meter.name for meter in register_meters()] == ["zeus"]
