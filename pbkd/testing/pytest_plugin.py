"""pytest fixtures for tests of plugins, from `pbkd.testing`.

pytest loads this module wherever pbkd is installed, so it imports torch only inside fixtures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import nn

    from pbkd.data.datasets import Dataset
    from pbkd.testing import FakeClock, FakeMeter


__all__ = ["fake_clock", "fake_meter", "tiny_data", "tiny_teacher"]


@pytest.fixture
def tiny_teacher() -> nn.Module:
    """A frozen VGG of two convolutions for 3x8x8 images in 4 classes."""
    from pbkd import testing

    return testing.tiny_teacher()


@pytest.fixture
def tiny_data() -> Dataset:
    """A data set of 3x8x8 images in 4 classes."""
    from pbkd import testing

    return testing.tiny_data()


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that only advances when the test advances it."""
    from pbkd.testing import FakeClock

    return FakeClock()


@pytest.fixture
def fake_meter() -> FakeMeter:
    """An energy meter whose readings and faults the test sets."""
    from pbkd.testing import FakeMeter

    return FakeMeter()
