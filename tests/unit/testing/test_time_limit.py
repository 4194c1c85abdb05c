from __future__ import annotations

import threading

import pytest

from pbkd.testing.time_limit import within


def test_what_returns_in_time_returns_its_value_or_raises_its_error() -> None:
    assert within(10, lambda: 7) == 7
    with pytest.raises(SystemExit):
        within(10, lambda: exit(3))


def test_what_hangs_is_said_with_its_place() -> None:
    released = threading.Event()
    with pytest.raises(TimeoutError, match=r"in 0\.1 s: it is in .*, .*test_time_limit\.py:\d+$"):
        within(0.1, lambda: released.wait())
    released.set()
