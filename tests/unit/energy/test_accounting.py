from __future__ import annotations

import pytest

from pbkd.core.energy_results import EnergyResult
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.energy.accounting import account_energy, devices_in_use
from pbkd.energy.window import Domain, WindowEnergy

GPUS = {"gpu0": Domain("nvml", "cuda:0"), "gpu1": Domain("nvml", "cuda:1")}
CPU = {"cpu-package-0": Domain("rapl", "cpu")}
ESTIMATE = {"cpu-estimate": Domain("estimate", "cpu", "CPU seconds x 15 W")}
WORKERS = (Worker(0, "cuda:0"), Worker(1, "cuda:1"))


def energy(
    seconds: float,
    joules: dict[str, float],
    domains: dict[str, Domain] = {**GPUS, **CPU},  # noqa: B006
    lost: dict[str, str] | None = None,
    absent: dict[str, str] | None = None,
) -> WindowEnergy:
    reasons = [f"{name}: {why}" for name, why in {**(lost or {}), **(absent or {})}.items()]
    return WindowEnergy(
        seconds=seconds,
        joules=joules or None,
        reason="; ".join(reasons) or None,
        domains=domains,
        lost=lost or {},
        absent=absent or {},
    )


WINDOWS = {
    "idle": energy(2.0, {"gpu0": 40.0, "gpu1": 60.0, "cpu-package-0": 20.0}),
    "teacher-fed": energy(10.0, {"gpu0": 1000.0, "gpu1": 900.0, "cpu-package-0": 300.0}),
    "student-fed": energy(5.0, {"gpu0": 500.0, "gpu1": 450.0, "cpu-package-0": 150.0}),
    "run": energy(20.0, {"gpu0": 1700.0, "gpu1": 1500.0, "cpu-package-0": 600.0}),
}
EVERYTHING = {"cpu", "cuda:0", "cuda:1"}


def figures(result: EnergyResult) -> dict[str, tuple[float | None, ...]]:
    return {d.name: (d.idle_watts, d.joules, d.above_idle) for d in result.domains}


def test_idle_power_is_in_the_joules_and_not_in_those_above_idle() -> None:
    result = account_energy(WINDOWS, WORKERS, EVERYTHING)
    assert figures(result) == {
        "gpu0": (20.0, 1700.0, 1300.0),
        "gpu1": (30.0, 1500.0, 900.0),
        "cpu-package-0": (10.0, 600.0, 400.0),
    }
    assert result.idle_seconds == 2.0
    assert (result.all_devices.joules, result.all_devices.above_idle) == (3800.0, 2600.0)
    assert result.in_use == result.all_devices


def test_a_worker_has_the_joules_of_its_device_by_phase() -> None:
    first, second = account_energy(WINDOWS, WORKERS, EVERYTHING).workers
    assert first.joules == {"teacher-fed": 1000.0, "student-fed": 500.0}
    assert second.joules == {"teacher-fed": 900.0, "student-fed": 450.0}
    assert first.reason is second.reason is None


def test_devices_that_did_nothing_can_be_left_out() -> None:
    result = account_energy(WINDOWS, WORKERS[:1], {"cpu", "cuda:0"})
    assert result.all_devices.domains == ("gpu0", "gpu1", "cpu-package-0")
    assert result.in_use.domains == ("gpu0", "cpu-package-0")
    assert (result.in_use.joules, result.in_use.above_idle) == (2300.0, 1700.0)


def test_only_workers_with_work_and_the_host_use_devices() -> None:
    job = Job(("a",))
    workers = (Worker(0, "cuda:0"), Worker(1, "cuda:1"), Worker(2, "cuda:2"))
    assigned = Schedule(((), (job,), ()))
    assert devices_in_use(assigned, workers, "cuda") == {"cpu", "cuda:0", "cuda:1"}
    shared = Schedule(((), (job,), ()), (job,))
    assert devices_in_use(shared, workers, "cuda") == {"cpu", "cuda:0", "cuda:1", "cuda:2"}
    assert devices_in_use(Schedule(((job,),)), (Worker(0),), "cpu") == {"cpu"}


@pytest.mark.parametrize(
    ("workers", "domains", "reason"),
    [
        ((Worker(0, "cuda:0"), Worker(1, "cuda:0")), GPUS, "workers 0, 1 share cuda:0"),
        ((Worker(0, "cuda:2"),), GPUS, "no sensor is known to measure cuda:2"),
        ((Worker(0),), ESTIMATE, "no sensor is known to measure cpu"),
    ],
)
def test_a_worker_without_a_sensor_of_its_own_says_why(
    workers: tuple[Worker, ...], domains: dict[str, Domain], reason: str
) -> None:
    windows = {
        name: energy(1.0, dict.fromkeys(domains, 1.0), domains)
        for name in ("run", "teacher-fed", "student-fed")
    }
    for worker in account_energy(windows, workers, EVERYTHING).workers:
        assert (worker.joules, worker.reason) == (None, reason)


def test_a_sensor_that_is_lost_leaves_no_sum_and_what_was_right_stays() -> None:
    gone = {"gpu1": "GPU is lost"}
    windows = {
        **WINDOWS,
        "student-fed": energy(5.0, {"gpu0": 500.0, "cpu-package-0": 150.0}, lost=gone),
        "run": energy(20.0, {"gpu0": 1700.0, "cpu-package-0": 600.0}, lost=gone),
    }
    result = account_energy(windows, WORKERS, EVERYTHING)
    assert figures(result)["gpu0"] == (20.0, 1700.0, 1300.0)
    assert figures(result)["gpu1"] == (30.0, None, None)
    assert result.domains[1].reason == "GPU is lost"
    assert result.all_devices.joules is result.all_devices.above_idle is None
    assert result.all_devices.reason == "gpu1: GPU is lost"
    assert result.workers[1].joules == {"teacher-fed": 900.0}
    assert result.workers[1].reason == "student-fed, gpu1: GPU is lost"
    assert account_energy(windows, WORKERS[:1], {"cpu", "cuda:0"}).in_use.joules == 2300.0


def test_a_meter_that_dies_in_mid_run_is_a_reason_too() -> None:
    dead = {"nvml": "it gave no reading within 5 s"}
    windows = {**WINDOWS, "run": energy(20.0, {"cpu-package-0": 600.0}, CPU, absent=dead)}
    result = account_energy(windows, WORKERS, EVERYTHING)
    assert figures(result)["gpu0"] == (20.0, None, None)
    assert result.domains[0].reason == "it gave no reading within 5 s"
    assert result.all_devices.joules is None


def test_a_meter_that_never_measured_is_not_in_the_sum_which_says_so() -> None:
    absent = {"rapl": "no permission"}
    windows = {
        name: energy(window.seconds, {"gpu0": 10.0}, {"gpu0": GPUS["gpu0"]}, absent=absent)
        for name, window in WINDOWS.items()
    }
    result = account_energy(windows, WORKERS[:1], {"cpu", "cuda:0"})
    assert (result.all_devices.domains, result.all_devices.joules) == (("gpu0",), 10.0)
    assert result.all_devices.reason == "not in it, rapl: no permission"


def test_without_a_sensor_there_are_no_figures_and_the_reason() -> None:
    empty = {
        name: WindowEnergy(seconds=1.0, joules=None, reason="no energy meter is chosen")
        for name in WINDOWS
    }
    del empty["idle"]
    result = account_energy(empty, WORKERS, EVERYTHING)
    assert result.domains == ()
    assert result.idle_seconds is None
    for sum_ in (result.all_devices, result.in_use):
        assert (sum_.joules, sum_.reason) == (None, "no energy meter is chosen")


def test_which_gpus_were_idle_is_not_known_without_their_devices() -> None:
    unknown = {"gpu0": Domain("nvml"), **CPU}
    windows = {
        name: energy(window.seconds, {"gpu0": 10.0, "cpu-package-0": 1.0}, unknown)
        for name, window in WINDOWS.items()
    }
    result = account_energy(windows, WORKERS, EVERYTHING)
    assert result.all_devices.joules == 11.0
    assert result.in_use.joules is None
    assert "gpu0: it is not known which device that is" in (result.in_use.reason or "")


def test_an_estimate_is_in_no_sum_and_has_no_idle_power() -> None:
    windows = {
        name: energy(1.0, {"gpu0": 5.0, "cpu-estimate": 7.0}, {"gpu0": GPUS["gpu0"], **ESTIMATE})
        for name in WINDOWS
    }
    del windows["idle"]
    result = account_energy(windows, WORKERS[:1], EVERYTHING)
    assert result.domains[1].joules == 7.0
    assert result.domains[1].estimate == "CPU seconds x 15 W"
    assert result.domains[1].idle_watts is None
    assert result.domains[1].reason is None
    assert result.all_devices.domains == result.in_use.domains == ("gpu0",)
    assert result.all_devices.joules == 5.0
    only = {name: energy(1.0, {"cpu-estimate": 7.0}, ESTIMATE) for name in windows}
    alone = account_energy(only, WORKERS, EVERYTHING)
    assert (alone.all_devices.joules, alone.all_devices.reason) == (
        None,
        "there are only estimates",
    )


def test_a_resumed_run_has_no_figures_for_the_whole() -> None:
    result = account_energy(WINDOWS, WORKERS, EVERYTHING, resumed=True)
    assert figures(result)["gpu0"] == (20.0, None, None)
    assert "resumed" in (result.domains[0].reason or "")
    assert result.all_devices.joules is None
    assert "resumed" in (result.all_devices.reason or "")
