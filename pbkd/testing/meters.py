"""Conformance tests of energy meters."""

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
_TIMEOUT = 5.0  # seconds, as in a run


def check_meter(meter: EnergyMeter) -> None:
    """Check that a meter's readings never decrease and that it can be opened twice.

    A meter that cannot measure on this machine passes if it raises `MeterUnavailableError` with a
    reason. Opening, three readings and closing must take at most 5 seconds.

    Args:
        meter: The meter.

    Raises:
        AssertionError: If the meter breaks the contract.
    """
    first = _opened(meter)
    if first is None:
        return
    second = _opened(meter)
    assert second is not None, "the meter cannot be opened a second time"
    assert _domains(second) == _domains(first), (
        f"the meter has the domains {_domains(first)}, but {_domains(second)} when opened again"
    )


def _opened(meter: EnergyMeter) -> list[EnergyReading] | None:
    """Open the meter and return its readings; None if it is unavailable with a reason."""
    readings: list[EnergyReading] = []
    caught: list[BaseException] = []
    thread = threading.Thread(target=_use, args=(meter, readings, caught), daemon=True)
    thread.start()
    thread.join(_TIMEOUT)
    assert not thread.is_alive(), (
        f"the meter did not open, return {_READINGS} readings and close within {_TIMEOUT:g} s"
    )
    if caught and isinstance(caught[0], MeterUnavailableError) and not readings:
        assert str(caught[0]), "MeterUnavailableError must have a message"
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
                    f"a reading is a {type(reading).__name__}, not a pbkd.EnergyReading"
                )
                copied = replace(reading, joules=dict(reading.joules), lost=dict(reading.lost))
                readings.append(copied)
                time.sleep(0.01)
    except BaseException as error:  # raised again by the calling thread
        caught.append(error)


def _check_readings(readings: list[EnergyReading]) -> None:
    last: dict[str, float] = {}
    for reading in readings:
        assert reading.joules or reading.lost, "an open meter has no domain"
        assert all(reading.lost.values()), "a domain is lost without a reason"
        for domain in reading.estimates:
            assert "estimate" in domain, (
                f"{domain} is an estimate, so its name must contain 'estimate'"
            )
        for domain, joules in reading.joules.items():
            assert domain not in reading.lost, f"{domain} is lost, but has joules"
            assert math.isfinite(joules), f"{domain} has {joules} joules"
            assert joules >= last.get(domain, 0.0), f"{domain} runs backwards"
        last |= reading.joules


def _domains(readings: list[EnergyReading]) -> list[str]:
    return sorted({*readings[0].joules, *readings[0].lost})
