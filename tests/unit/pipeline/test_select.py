from __future__ import annotations

from dataclasses import replace

from pbkd.core.events import BlockScored, Event
from pbkd.core.intervals import difference_interval
from pbkd.pipeline.select import _accept
from pbkd.pipeline.solo_scores import SoloScore
from tests.unit.report.test_card import BLOCK


def solo(lost: int, gained: int, images: int) -> SoloScore:
    interval = difference_interval(gained, lost, images)
    return SoloScore((lost - gained) / images, 0.5, interval)


def test_a_rejection_says_how_sure_it_is_and_on_how_many_images() -> None:
    events: list[Event] = []
    names = ("good", "better", "bad")
    scores = dict(zip(names, (solo(1, 0, 60), solo(1, 3, 60), solo(20, 2, 60)), strict=True))
    blocks = _accept(dict.fromkeys(names, BLOCK), scores, 15, 60, events.append)
    assert [block.replaced for block in blocks.values()] == [True, True, False]
    assert blocks["bad"].reason == (
        "alone it loses 30.0 points on 60 validation images (95 %: 15.7 to 42.4), over 15"
    )
    for name, event in zip(names, events, strict=True):
        assert isinstance(event, BlockScored)
        assert (event.interval, event.images) == (scores[name].interval, 60)
        assert (blocks[name].solo_interval, blocks[name].solo_images) == (scores[name].interval, 60)


def test_one_of_few_images_rejects_nothing() -> None:
    names = ("one lost", "all lost")
    scores = dict(zip(names, (solo(1, 0, 5), solo(5, 0, 5)), strict=True))
    blocks = _accept(dict.fromkeys(names, BLOCK), scores, 15, 5, lambda _event: None)
    assert [block.replaced for block in blocks.values()] == [True, False]


def test_a_rejected_block_with_a_high_loss_names_the_learning_rate() -> None:
    blocks = {
        "low": replace(BLOCK, teacher_fed_losses=(2.0, 0.5)),
        "high": replace(BLOCK, teacher_fed_losses=(3.6, 110.9)),
    }
    scores = dict.fromkeys(blocks, solo(20, 2, 60))
    low, high = _accept(blocks, scores, 15, 60, lambda _event: None).values()
    assert low.reason is not None
    assert low.reason.endswith("over 15")
    assert high.reason == (
        f"{low.reason}; its last loss is 111: if its training diverged, lower distill.lr"
    )
