"""A stand-in for `amdsmi`, with the documented functions, whose counters the tests move."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from pbkd_amd import AmdMeter

from pbkd.errors import MeterUnavailableError
from pbkd.testing import check_meter

NOT_SUPPORTED, NO_PERMISSION, NOT_INITIALISED = 2, 10, 32


class AmdSmiError(Exception):
    """What amdsmi calls AmdSmiLibraryException."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Error code:\n\t{code} | what it means")
        self.err_code = code


@dataclass
class Machine:
    """The counters of GPUs (a negative one is an error's code), and what fails."""

    counts: list[int] = field(default_factory=lambda: [1000, 2000])
    key: str = "energy_accumulator"
    resolution: float = 15.0
    init: int = 0
    listing: int = 0
    hip: list[Any] | None = None
    calls: list[str] = field(default_factory=list)

    def module(self) -> ModuleType:
        module: Any = ModuleType("amdsmi")
        module.AmdSmiException = AmdSmiError
        module.amdsmi_wrapper = ModuleType("amdsmi.amdsmi_wrapper")
        module.amdsmi_wrapper.AMDSMI_STATUS_NO_PERM = NO_PERMISSION
        module.amdsmi_init = lambda: self.called("init", self.init)
        module.amdsmi_shut_down = lambda: self.called("shut down", 0)
        module.amdsmi_get_processor_handles = self.handles
        module.amdsmi_get_energy_count = self.count
        if self.hip is not None:
            numbers = self.hip
            module.amdsmi_get_gpu_enumeration_info = lambda gpu: {"hip_id": numbers[gpu]}
        return module  # type: ignore[no-any-return]

    def called(self, name: str, code: int) -> None:
        self.calls.append(name)
        if code:
            raise AmdSmiError(code)

    def handles(self) -> list[int]:
        if self.listing:
            raise AmdSmiError(self.listing)
        return list(range(len(self.counts)))

    def count(self, gpu: int) -> dict[str, float]:
        if self.counts[gpu] < 0:
            raise AmdSmiError(-self.counts[gpu])
        return {self.key: self.counts[gpu], "counter_resolution": self.resolution, "timestamp": 1}


@pytest.fixture(autouse=True)
def _nothing_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def install(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Machine:
    machine = Machine(**changes)
    monkeypatch.setitem(sys.modules, "amdsmi", machine.module())
    return machine


@pytest.mark.parametrize("key", ["energy_accumulator", "power"])
def test_counters_count_from_the_opening_in_their_resolution(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    machine = install(monkeypatch, key=key, resolution=15.25)
    with AmdMeter().open() as read:
        assert read().joules == {"gpu0": 0.0, "gpu1": 0.0}
        machine.counts = [1000 + 4_000_000, 2000 + 8_000_000]
        assert read().joules == {"gpu0": 61.0, "gpu1": 122.0}
        machine.counts[0] += 4_000_000
        reading = read()
    assert reading.joules == {"gpu0": 122.0, "gpu1": 122.0}
    assert reading.lost == {}
    assert machine.calls == ["init", "shut down"]


@pytest.mark.parametrize("size", [2**32, 2**64])
def test_a_counter_is_followed_over_its_wrap_around(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    machine = install(monkeypatch, counts=[size - 1_000_000], resolution=15.0)
    with AmdMeter().open() as read:
        machine.counts = [1_000_000]
        assert read().joules == {"gpu0": 30.0}
        machine.counts = [2_000_000]
        assert read().joules == {"gpu0": 45.0}


def test_a_counter_that_falls_otherwise_is_lost_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = install(monkeypatch, counts=[4_750_896_266, 0])
    with AmdMeter().open() as read:
        machine.counts = [4_736_943_791, 1_000_000]
        reading = read()
        assert reading.joules == {"gpu1": 15.0}
        assert "ran backwards" in reading.lost["gpu0"]
        machine.counts[0] = 4_800_000_000
        assert read().lost == reading.lost


def test_a_counter_that_vanishes_is_lost_and_the_other_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = install(monkeypatch)
    with AmdMeter().open() as read:
        machine.counts = [1_001_000, -NOT_SUPPORTED]
        reading = read()
    assert reading.joules == {"gpu0": 15.0}
    assert reading.lost["gpu1"] == (
        "its counter cannot be read any more (Error code: 2 | what it means)"
    )
    assert machine.calls == ["init", "shut down"]


def test_a_gpu_without_a_permission_is_lost_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = install(monkeypatch, counts=[-NO_PERMISSION, 0])
    with AmdMeter().open() as read:
        machine.counts[1] = 1_000_000
        reading = read()
    assert reading.joules == {"gpu1": 15.0}
    assert "add this user to the groups 'video' and 'render'" in reading.lost["gpu0"]


@pytest.mark.parametrize(
    ("changes", "reason", "calls"),
    [
        ({"init": NO_PERMISSION}, "AMD SMI does not start: no permission; add", ["init"]),
        ({"init": NOT_INITIALISED}, "does not start: Error code: 32 | what it means.", ["init"]),
        ({"listing": NO_PERMISSION}, "AMD SMI lists no GPUs: no perm", ["init", "shut down"]),
        ({"counts": []}, "AMD SMI shows no GPU.", ["init", "shut down"]),
        ({"counts": [-2, -10]}, "gpu0: its energy counter cannot be read (Error code: 2",
         ["init", "shut down"]),
        ({"key": "volts"}, "no GPU has a usable counter: gpu0: ", ["init", "shut down"]),
    ],
)  # fmt: skip
def test_a_machine_without_a_counter_says_why(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], reason: str, calls: list[str]
) -> None:
    machine = install(monkeypatch, **changes)
    with pytest.raises(MeterUnavailableError) as caught, AmdMeter().open():
        pytest.fail("there is nothing to open")
    assert reason in str(caught.value)
    assert machine.calls == calls


@pytest.mark.parametrize(
    ("hip", "variable", "devices"),
    [
        ([1, 0], None, {"gpu0": "cuda:1", "gpu1": "cuda:0"}),
        ([1, 0], "HIP_VISIBLE_DEVICES", {}),
        (["N/A", "N/A"], None, {}),
        (None, None, {}),
    ],
)
def test_a_gpus_device_is_reported_where_it_is_certain(
    monkeypatch: pytest.MonkeyPatch, hip: list[Any] | None, variable: str | None, devices: object
) -> None:
    install(monkeypatch, hip=hip)
    if variable:
        monkeypatch.setenv(variable, "0")
    with AmdMeter().open() as read:
        assert read().devices == devices


@pytest.mark.parametrize(("error", "reason"), [(None, "'pbkd[amd]'"), (OSError("no file"), "no f")])
def test_without_the_package_or_its_library_the_meter_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, reason: str
) -> None:
    class Broken:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "amdsmi" and error:
                raise error

    monkeypatch.setitem(sys.modules, "amdsmi", None)
    if error:
        monkeypatch.delitem(sys.modules, "amdsmi")
        monkeypatch.setattr(sys, "meta_path", [Broken, *sys.meta_path])
    with pytest.raises(MeterUnavailableError, match=reason.replace("[", r"\[")), AmdMeter().open():
        pytest.fail("there is nothing to open")


def test_the_meter_keeps_its_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = install(monkeypatch)
    check_meter(AmdMeter())
    assert machine.calls == ["init", "shut down"] * 2
