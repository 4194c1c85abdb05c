from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pbkd.training.best_state import BestState, copy_state

LABELS = torch.zeros(1000, dtype=torch.int64)


def _classes(correct: int) -> Tensor:
    return (torch.arange(1000) >= correct).long()


def _after(scores: list[int], *, start: int) -> BestState:
    """Return what is kept after epochs that were right on these numbers of 1,000 images."""
    network = nn.Linear(1, 1)
    best = BestState(0, start / 1000, copy_state(network), to_beat=start / 1000)
    for epoch, correct in enumerate(scores, 1):
        nn.init.constant_(network.weight, epoch)
        best.see_epoch(correct / 1000, _classes(correct), LABELS, network)
    return best


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([900, 910, 908], 3),  # 2 images fewer are chance
        ([900, 930, 908], 2),  # 22 are not
        ([900, 908, 910], 3),
        ([799, 790], 0),  # the start has to be surpassed, also by an image
        ([799, 801, 800], 2),
        ([799, 802, 801], 3),
    ],
)
def test_a_later_epoch_is_kept_unless_it_is_surely_worse(scores: list[int], kept: int) -> None:
    best = _after(scores, start=800)
    assert (best.epochs, best.epoch) == (len(scores), kept)
    assert best.score == [800, *scores][kept] / 1000
    if kept:
        assert float(best.state["weight"]) == kept
        assert best.classes is not None
        assert int((best.classes == LABELS).sum()) == scores[kept - 1]


def test_a_schedule_has_to_surpass_what_was_there_before() -> None:
    best = _after([900, 899], start=800)
    assert best.epoch == 2
    best.to_beat = best.score  # the next round
    network = nn.Linear(1, 1)
    for correct, kept in ((899, 2), (901, 4), (900, 5), (899, 5)):
        best.see_epoch(correct / 1000, _classes(correct), LABELS, network)
        assert best.epoch == kept
