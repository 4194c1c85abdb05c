from __future__ import annotations

from dataclasses import replace

import pytest

from pbkd.bench.report import energy_lines
from pbkd.bench.result import BenchResult, ProcedureResult, Spread
from pbkd.bench.savings import savings

# The kilojoules that the paper's authors logged for VGG-16, on one and on four GPUs.
PAPERS = {
    "serial": {"cpu-package-0": 246.2, "gpu0": 815.7},
    "paper": {"cpu-package-0": 184.2, "gpu0": 709.2},
}
DEVICES = {"cpu-package-0": "cpu", "gpu0": "cuda:0", "gpu1": "cuda:1"}


def procedure(name: str, joules: dict[str, float] | None, gpus: int = 1) -> ProcedureResult:
    in_use = ("cpu", *(f"cuda:{number}" for number in range(gpus)))
    spread = Spread(1.0, 1.0, 1.0)
    reason = None if joules else "no sensor"
    return ProcedureResult(
        name=name,
        seconds=spread,
        cpu_seconds=1.0,
        peak_bytes=(),
        predicted_seconds=None,
        joules=joules,
        joules_reason=reason,
        devices=DEVICES,
        in_use=in_use,
    )


SERIAL, PAPER = (procedure(name, joules) for name, joules in PAPERS.items())


def bench(*procedures: ProcedureResult) -> BenchResult:
    return BenchResult(
        preset="p",
        workers=2,
        threads=1,
        batch_size=64,
        command="",
        procedures=procedures,
        speedups={},
        checkpoint_seconds=0.1,
        environment={},
        savings=savings(procedures),
    )


def test_the_papers_19_per_cent_are_16_of_what_was_used_before() -> None:
    whole, _ = savings([SERIAL, PAPER])
    assert (whole.procedure, whole.counted) == ("paper", "all devices")
    assert whole.e1_joules == pytest.approx(1061.9)
    assert whole.en_joules == pytest.approx(893.4)
    assert whole.papers == pytest.approx(0.189, abs=5e-4)
    assert whole.share == pytest.approx(0.159, abs=5e-4)
    (line, *_) = energy_lines(bench(SERIAL, PAPER))
    assert "saved 15.9 % of serial's, (E1 - EN) / E1" in line
    assert "by the paper's formula 18.9 %, E1 / EN - 1" in line


def test_what_idle_devices_took_can_be_left_out() -> None:
    """The second GPU, which serial leaves idle, makes it look dearer than it is."""
    one = procedure("serial", {"cpu-package-0": 20.0, "gpu0": 80.0, "gpu1": 30.0})
    two = procedure("paper", {"cpu-package-0": 12.0, "gpu0": 48.0, "gpu1": 44.0}, gpus=2)
    whole, used = savings([one, two])
    assert (whole.e1_joules, whole.en_joules) == (130.0, 104.0)
    assert (whole.share, whole.papers) == (0.2, 0.25)
    assert (used.counted, used.e1_joules, used.en_joules) == ("devices in use", 100.0, 104.0)
    assert used.share == pytest.approx(-0.04)


@pytest.mark.parametrize(
    ("changes", "counted", "reason"),
    [
        ({"joules": None, "joules_reason": "no driver"}, 0, "not measured in both (no driver)"),
        ({"lost": ("gpu7",)}, 0, "gpu7: not measured in both"),
        ({"joules": {"gpu0": 3.0}, "joules_reason": "gone"}, 0, "cpu-package-0: not measured"),
        ({"joules": {"gpu0": 3.0}, "joules_reason": "gone"}, 1, "not measured in paper (gone)"),
        ({"devices": {"gpu0": "cuda:0"}}, 1, "the device of cpu-package-0 is not known"),
    ],
)
def test_what_is_not_known_is_none_with_a_reason(
    changes: dict[str, object], counted: int, reason: str
) -> None:
    saving = savings([SERIAL, replace(PAPER, **changes)])[counted]  # type: ignore[arg-type]
    assert saving.share is saving.papers is saving.e1_joules is saving.en_joules is None
    assert reason in (saving.reason or "")


def test_without_a_sensor_the_reason_is_told_once() -> None:
    nothing = [procedure(name, None) for name in ("serial", "paper", "pipeline")]
    nothing = [replace(p, devices={}) for p in nothing]
    assert energy_lines(bench(*nothing)) == [
        "energy saved by paper (all devices), paper (devices in use), pipeline (all devices),"
        " pipeline (devices in use) not measured: no sensor"
    ]


def test_estimates_are_never_in_a_sum() -> None:
    both = [
        procedure(name, {"cpu-estimate": 5.0, "gpu0": joules}, gpus=1)
        for name, joules in (("serial", 20.0), ("paper", 10.0))
    ]
    both = [replace(p, devices={"gpu0": "cuda:0"}) for p in both]
    assert [(s.e1_joules, s.en_joules) for s in savings(both)] == [(20.0, 10.0)] * 2
