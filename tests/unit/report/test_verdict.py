from __future__ import annotations

from dataclasses import replace

import pytest

from pbkd.core.scores import PairedChange
from pbkd.report.verdict import verdict
from tests.unit.report.test_card import BLOCK, KEPT, STUDENT, TEACHER, UNTRAINED, result


def test_the_verdict_is_on_the_whole_networks_and_not_on_the_replaced_blocks() -> None:
    assert verdict(result()) == (
        "1 of 3 blocks were replaced: the student has 4.0x fewer parameters and 2.5x fewer MACs"
        " than its teacher and takes 2.00 instead of 4.00 ms for a batch of 64; it lost 2.00 points"
        " of test accuracy on 1,000 images (95 %: 0.7 to 3.2)."
    )


@pytest.mark.parametrize(
    ("lost", "gained", "said"),
    [
        (30, 10, "lost 2.00 points of test accuracy on 1,000 images (95 %: 0.7 to 3.2)"),
        (0, 18, "gained 1.80 points of test accuracy on 1,000 images (95 %: 1.0 to 2.6)"),
        (12, 10, "lost 0.20 points of test accuracy on 1,000 images (95 %: -0.7 to 1.1)"),
        (0, 0, "gained 0.00 points of test accuracy on 1,000 images (95 %: -0.20 to 0.20)"),
    ],
)
def test_a_loss_and_a_gain_are_told_apart_with_their_intervals(
    lost: int, gained: int, said: str
) -> None:
    change = PairedChange.of(
        both_correct=980 - lost, lost=lost, gained=gained, both_wrong=20 - gained
    )
    student = replace(STUDENT, accuracy=(980 - lost + gained) / 1000)
    assert f"; it {said}." in verdict(result(student=student, change=change))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters": 0, "macs": 0}, "1,000,000 fewer parameters and 5,000,000 fewer MACs"),
        ({"parameters": 1_000_500}, "500 more parameters and 2.5x fewer MACs"),
        ({"macs": 5_000_000}, "4.0x fewer parameters and 1.0x fewer MACs"),
        ({"latencies": ()}, "2.5x fewer MACs than its teacher; it lost"),
    ],
)
def test_a_student_may_be_empty_larger_or_untimed(changes: dict[str, object], said: str) -> None:
    student = replace(STUDENT, **changes)  # type: ignore[arg-type]
    teacher = TEACHER if student.latencies else replace(TEACHER, latencies=())
    assert said in verdict(result(student=student, teacher=teacher, blocks=(BLOCK,)))


def test_without_labels_the_agreement_has_an_interval() -> None:
    unlabelled = result(
        teacher=replace(TEACHER, accuracy=None),
        student=replace(STUDENT, accuracy=None, agreement=0.875),
        change=None,
        test_images=16,
    )
    said = "it agrees with its teacher on 87.50 % of 16 test images (95 %: 64.0 to 96.5)."
    assert verdict(unlabelled).endswith(said)


def test_results_of_older_versions_have_no_interval() -> None:
    old = result(change=None, test_images=None)
    assert verdict(old).endswith("; it lost 2.00 points of test accuracy.")


def test_without_any_replacement_the_verdict_says_so() -> None:
    assert verdict(result(blocks=(KEPT, UNTRAINED))).startswith("No replacement was good enough")
    assert verdict(result(blocks=())).startswith("No replacement was good enough")
