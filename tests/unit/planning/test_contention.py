from __future__ import annotations

import threading
import time

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.planning.contention import slowdown, slowed_down


def test_work_that_shares_nothing_is_as_fast_beside_others() -> None:
    assert slowdown(lambda: time.sleep(0.02), 3) == pytest.approx(1, abs=0.3)


def test_work_that_must_take_turns_is_slower_beside_others() -> None:
    lock = threading.Lock()

    def work() -> None:
        with lock:
            time.sleep(0.02)

    assert slowdown(work, 2) == pytest.approx(1.5, abs=0.3)  # one waits for the other


def test_all_seconds_of_a_cost_grow_and_nothing_else() -> None:
    cost = BlockCost("a", 1.0, 2.0, 3.0, 4, 5, 6, 0.5, 0.25, 8)
    assert slowed_down(cost, 2) == BlockCost("a", 2.0, 4.0, 6.0, 4, 5, 6, 1.0, 0.5, 8)
