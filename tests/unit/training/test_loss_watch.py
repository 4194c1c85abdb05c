"""Which losses are taken for a divergence, after how many steps."""

from __future__ import annotations

import math

import pytest
import torch

from pbkd.training.best_state import BestState
from pbkd.training.loss_watch import LossWatch
from pbkd.training.training_hooks import TrainingHooks

BURST = [0.1, *[90.0] * 7, *[0.5] * 56]
HUMP = [0.1, *[0.6] * 7, *[0.14] * 8, *[0.12] * 48]
PLATEAU = [0.5, *[1.0] * 63]


def divergence(losses: list[float], watch: LossWatch) -> tuple[int, str] | None:
    """Return after how many of the steps it diverges, and how."""
    for step, loss in enumerate(losses, 1):
        if how := watch.see(torch.tensor(loss)):
            return step, how
    return None


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ([0.5 - 0.004 * step for step in range(64)], None),
        (HUMP, None),
        ([0.01, *[0.09] * 63], None),
        (BURST, (8, "its loss rose from 0.1 to 78.8 in 8 steps")),
        (PLATEAU, (24, "its loss rose from 0.5 to 1 in 24 steps")),
        ([0.5] * 40 + [math.nan] * 24, (48, "its loss is nan after 48 steps")),
        ([math.nan] * 64, (8, "its loss is nan after 8 steps")),
    ],
)
def test_a_loss_diverges_in_a_burst_or_if_it_stays_above_its_start(
    losses: list[float], found: tuple[int, str] | None
) -> None:
    assert divergence(losses, LossWatch(64, 64)) == found


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        (PLATEAU, None),
        ([0.5, *[1.7] * 63], (24, "its loss rose from 0.5 to 1.7 in 24 steps")),
    ],
)
def test_a_network_of_trained_blocks_may_lose_more_than_at_its_start(
    losses: list[float], found: tuple[int, str] | None
) -> None:
    watch = TrainingHooks(rate_lowered=lambda _text: None).watch(BestState(0, 0.9, {}), 64)
    assert watch is not None
    assert divergence(losses, watch) == found


def test_few_steps_are_compared_in_fours() -> None:
    watch = LossWatch(9, 9)
    assert divergence([1.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0], watch) is None
    assert divergence(PLATEAU, LossWatch(64, 1)) == (17, "its loss rose from 0.5 to 1 in 17 steps")


def test_a_watch_that_is_interrupted_after_an_epoch_comes_to_the_same_conclusion() -> None:
    for epoch, steps in ((5, 65), (20, 60)):
        whole = divergence(PLATEAU[:steps], LossWatch(steps, epoch))
        assert whole is not None
        resumed = LossWatch(steps, epoch, start=0.5, seen=epoch)
        step, how = divergence(PLATEAU[epoch:steps], resumed) or (0, "")
        assert (step + epoch, how) == whole
