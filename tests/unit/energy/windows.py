"""One window of energy, measured by fake meters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.energy.monitor import monitor_energy
from pbkd.energy.window import WindowEnergy
from pbkd.testing import FakeMeter as Fake

if TYPE_CHECKING:
    from collections.abc import Callable

FAILS = "the plugin 'pbkd.testing.fakes' fails"


class Other(Fake):
    name = "other"


def measure(*meters: Fake, during: Callable[[], object]) -> WindowEnergy:
    with monitor_energy(meters) as monitor, monitor.window("w"):
        during()
    return monitor.windows["w"]
