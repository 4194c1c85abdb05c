"""Meters: readings that never fall, a clean end, and a second beginning."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.errors import MeterUnavailableError, one_line
from pbkd.protocols import EnergyReading

if TYPE_CHECKING:
    from pbkd.protocols import EnergyMeter

__all__ = ["check_meter"]

_READINGS = 3
_PATIENCE = 5.0  # seconds, as in a run


def check_meter(meter: EnergyMeter) -> None:
    """The meter never runs backwards and closes, twice, or says plainly why it cannot measure here.

    All that it does comes to an end within 5 seconds.
    """
    first = _opened(meter)
    if first is None:
        return
    second = _opened(meter)
    assert second is not None, "the meter cannot be opened a second time"
    assert _domains(second) == _domains(first), (
        f"the meter has the domains {_domains(first)}, and {_domains(second)} opened again"
    )


def _opened(meter: EnergyMeter) -> list[EnergyReading] | None:
    """Return the readings of one opening; None where the meter is unavailable, and says why."""
    readings: list[EnergyReading] = []
    caught: list[BaseException] = []
    thread = threading.Thread(target=_use, args=(meter, readings, caught), daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    assert not thread.is_alive(), (
        f"the meter did not open, answer {_READINGS} times and close within {_PATIENCE:g} s"
    )
    if caught and isinstance(caught[0], MeterUnavailableError) and not readings:
        assert str(caught[0]), "an unavailable meter must give its reason"
        return None
    if caught:
        raise AssertionError(f"the meter fails ({one_line(caught[0])})") from caught[0]
    _check_readings(readings)
    return readings


def _use(meter: EnergyMeter, readings: list[EnergyReading], caught: list[BaseException]) -> None:
    try:
        with meter.open() as read:
            for _ in range(_READINGS):
                reading = read()
                assert isinstance(reading, EnergyReading), (
                    f"it reads {type(reading).__name__}, not pbkd.EnergyReading"
                )
                copied = replace(reading, joules=dict(reading.joules), lost=dict(reading.lost))
                readings.append(copied)
                time.sleep(0.01)
    except BaseException as error:  # the thread of the check tells of it
        caught.append(error)


def _check_readings(readings: list[EnergyReading]) -> None:
    last: dict[str, float] = {}
    for reading in readings:
        assert reading.joules or reading.lost, "an open meter has no domain"
        assert all(reading.lost.values()), "a domain is lost without a reason"
        for domain in reading.estimates:
            assert "estimate" in domain, f"{domain} is an estimate, and its name does not say so"
        for domain, joules in reading.joules.items():
            assert domain not in reading.lost, f"{domain} is lost, and has joules"
            assert math.isfinite(joules), f"{domain} has {joules} joules"
            assert joules >= last.get(domain, 0.0), f"{domain} runs backwards"
        last |= reading.joules


def _domains(readings: list[EnergyReading]) -> list[str]:
    return sorted({*readings[0].joules, *readings[0].lost})
