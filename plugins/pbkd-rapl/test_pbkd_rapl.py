from __future__ import annotations

from pathlib import Path

import pytest
from pbkd_rapl import RaplMeter

from pbkd.errors import MeterUnavailableError
from pbkd.protocols import EnergyReading
from pbkd.testing import FakeClock, check_meter

RANGE = 262_143_328_850


def zone(root: Path, folder: str, name: str, microjoules: int = 0, limit: int = RANGE) -> Path:
    """Write a powercap zone; return the file of its counter."""
    (root / folder).mkdir(parents=True)
    (root / folder / "name").write_text(f"{name}\n")
    (root / folder / "max_energy_range_uj").write_text(f"{limit}\n")
    counter = root / folder / "energy_uj"
    counter.write_text(f"{microjoules}\n")
    return counter


def meter(root: Path) -> RaplMeter:
    return RaplMeter(root=str(root))


def refuse(monkeypatch: pytest.MonkeyPatch, *files: Path) -> None:
    """Refuse to read some files; their modes do not keep root, who may run this test, out."""
    read_text = Path.read_text

    def guarded(path: Path, encoding: str | None = None) -> str:
        if path in files:
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, encoding=encoding)

    monkeypatch.setattr(Path, "read_text", guarded)


def test_each_package_counts_its_joules_from_the_opening(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 5)
    with meter(tmp_path).open() as read:
        zero = dict.fromkeys(("cpu-package-0", "cpu-package-1"), 0.0)
        assert read() == EnergyReading(zero, {}, dict.fromkeys(zero, "cpu"))
        first.write_text("3500000\n")
        assert read().joules == {"cpu-package-0": 2.5, "cpu-package-1": 0.0}
        first.write_text("4000000\n")
        second.write_text("70000005\n")
        assert read().joules == {"cpu-package-0": 3.0, "cpu-package-1": 70.0}


def test_a_counter_is_followed_over_its_wrap_arounds(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000, limit=10_000_000)
    with meter(tmp_path).open() as read:
        totals = []
        for microjoules in (9_500_000, 500_000, 8_000_000, 7_000_000):
            counter.write_text(str(microjoules))
            totals.append(read().joules["cpu-package-0"])
    assert totals == [0.5, 1.5, 9.0, 18.0]


def test_only_whole_packages_count_and_each_once(tmp_path: Path) -> None:
    own = zone(tmp_path, "intel-rapl:0", "package-0-die-1")
    others = [
        zone(tmp_path, "intel-rapl:0:0", "core"),
        zone(tmp_path, "intel-rapl:0:1", "package-0-part"),
        zone(tmp_path, "intel-rapl:1", "psys"),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0-die-1"),
    ]
    (tmp_path / "intel-rapl").mkdir()
    with meter(tmp_path).open() as read:
        for counter in (own, *others):
            counter.write_text("1000000")
        assert read().joules == {"cpu-package-0-die-1": 1.0}


@pytest.mark.parametrize("name", ["", "dram", "psys"])
def test_a_machine_without_packages_says_so(tmp_path: Path, name: str) -> None:
    root = tmp_path / "powercap"
    if name:
        zone(root, "intel-rapl:0", name)
    with pytest.raises(MeterUnavailableError) as caught, meter(root).open():
        pytest.fail("there is nothing to open")
    assert str(caught.value) == f"this machine shows no RAPL counters under {root}."


def test_a_missing_permission_is_reported_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(
        monkeypatch,
        zone(tmp_path, "intel-rapl:0", "package-0"),
        zone(tmp_path, "intel-rapl:1", "package-1"),
    )
    with pytest.raises(MeterUnavailableError) as caught, meter(tmp_path).open():
        pytest.fail("there is nothing to open")
    reason = str(caught.value)
    assert f"no permission to read {tmp_path}/intel-rapl:0/energy_uj" in reason
    assert f"chmod a+r {tmp_path}/intel-rapl:*/energy_uj" in reason


def test_a_package_that_may_not_be_read_is_lost_and_the_other_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, zone(tmp_path, "intel-rapl:0", "package-0"))
    counter = zone(tmp_path, "intel-rapl:1", "package-1")
    with meter(tmp_path).open() as read:
        counter.write_text("2000000")
        reading = read()
    assert reading.joules == {"cpu-package-1": 2.0}
    assert list(reading.lost) == ["cpu-package-0"]
    assert "no permission" in reading.lost["cpu-package-0"]


@pytest.mark.parametrize("fault", ["vanishes", "turns to garbage", "loses its permission"])
def test_a_counter_that_fails_is_lost_for_good_and_the_other_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    failing = zone(tmp_path, "intel-rapl:0", "package-0")
    counter = zone(tmp_path, "intel-rapl:1", "package-1")
    with meter(tmp_path).open() as read:
        assert set(read().joules) == {"cpu-package-0", "cpu-package-1"}
        if fault == "vanishes":
            failing.unlink()
        elif fault == "turns to garbage":
            failing.write_text("")
        else:
            refuse(monkeypatch, failing)
        counter.write_text("1000000")
        reading = read()
        assert reading.joules == {"cpu-package-1": 1.0}
        assert str(failing.parent) in reading.lost["cpu-package-0"]
        monkeypatch.undo()
        failing.write_text("5000000")
        assert read() == reading


def test_a_counter_that_runs_backwards_without_a_range_is_lost(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000, limit=0)
    with meter(tmp_path).open() as read:
        counter.write_text("1")
        reading = read()
    assert reading.joules == {}
    assert "runs backwards" in reading.lost["cpu-package-0"]


@pytest.mark.parametrize(
    ("gap", "suspended", "reason"),
    [
        (200.0, 0.0, None),
        (300.0, 0.0, "it was not read for 300 s and may have wrapped twice"),
        (1.0, 5.0, "the machine was suspended"),
    ],
)
def test_a_gap_in_which_anything_may_have_happened_is_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fake_clock: FakeClock,
    gap: float,
    suspended: float,
    reason: str | None,
) -> None:
    asleep = [0.0]
    monkeypatch.setattr("time.monotonic", fake_clock)
    monkeypatch.setattr("time.clock_gettime", lambda _: fake_clock() + asleep[0])
    counter = zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 1_000_000)
    with meter(tmp_path).open() as read:
        fake_clock.advance(1.0)
        assert read().joules == {"cpu-package-0": 0.0}
        fake_clock.advance(gap)
        asleep[0] = suspended
        counter.write_text("1000000")
        reading = read()
    assert reading.joules == ({} if reason else {"cpu-package-0": 2.0})
    assert (reason or "") in reading.lost.get("cpu-package-0", "")


def test_the_meter_keeps_its_contract(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 7)
    check_meter(meter(tmp_path))
    check_meter(RaplMeter())
