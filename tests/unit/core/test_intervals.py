from __future__ import annotations

from itertools import product
from math import factorial

import numpy as np
import pytest
from scipy.stats import binomtest

from pbkd.core.intervals import difference_interval, mean_difference_interval, wilson_interval


@pytest.mark.parametrize(("correct", "images"), [(0, 1), (1, 1), (3, 10), (356, 360), (500, 50000)])
def test_the_interval_of_an_accuracy_is_wilsons(correct: int, images: int) -> None:
    wanted = binomtest(correct, images).proportion_ci(method="wilson")
    assert wilson_interval(correct, images) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


@pytest.mark.parametrize("images", [1, 7, 360])
def test_no_interval_of_an_accuracy_leaves_its_range_or_misses_the_accuracy(images: int) -> None:
    for correct in range(images + 1):
        low, high = wilson_interval(correct, images)
        assert 0 <= low <= correct / images <= high <= 1


def test_more_images_make_an_interval_narrower() -> None:
    widths = [high - low for low, high in (wilson_interval(9 * n, 10 * n) for n in (1, 10, 100))]
    assert widths == sorted(widths, reverse=True)
    widths = [b - a for a, b in (difference_interval(n, 2 * n, 10 * n) for n in (1, 10, 100))]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(
    ("lost", "gained", "images"), [(3, 4, 60), (30, 5, 360), (80, 85, 1000), (5, 60, 2000)]
)
def test_the_interval_of_a_difference_is_near_a_bootstrap(
    lost: int, gained: int, images: int
) -> None:
    shares = (lost / images, gained / images, 1 - (lost + gained) / images)
    drawn = np.random.default_rng(0).multinomial(images, shares, size=20_000)
    wanted = np.quantile((drawn[:, 1] - drawn[:, 0]) / images, [0.025, 0.975])
    assert difference_interval(lost, gained, images) == pytest.approx(
        wanted, abs=0.5 / images + 0.006
    )


@pytest.mark.parametrize(
    ("lost", "gained"), [(0.02, 0.02), (0.1, 0.1), (0.3, 0.1), (0.05, 0.2), (0.5, 0.4), (0.01, 0.0)]
)
def test_95_of_100_intervals_of_30_images_hold_the_true_difference(
    lost: float, gained: float
) -> None:
    """The exact coverage: a sum over all 2x2 tables."""
    images, covered = 30, 0.0
    for b, c in product(range(images + 1), repeat=2):
        if b + c > images:
            continue
        rest = 1 - lost - gained
        ways = factorial(images) // (factorial(b) * factorial(c) * factorial(images - b - c))
        low, high = difference_interval(b, c, images)
        if low <= gained - lost <= high:
            covered += ways * lost**b * gained**c * rest ** (images - b - c)
    assert 0.93 <= covered <= 1.0


def test_the_differences_interval_turns_with_the_networks_and_holds_the_difference() -> None:
    for lost, gained in product(range(12), repeat=2):
        images = max(1, lost + gained)
        low, high = difference_interval(lost, gained, images)
        assert -1 <= low <= (gained - lost) / images <= high <= 1
        assert difference_interval(gained, lost, images) == pytest.approx((-high, -low))


def test_equal_answers_for_few_images_prove_little() -> None:
    low, high = difference_interval(0, 0, 3)
    assert low < -0.3
    assert high > 0.3


def test_the_mean_of_equal_networks_has_the_interval_of_one_and_of_others_a_narrower_one() -> None:
    """Two rivals with 30 lost and 50 gained of 400 images: the same ones, or different ones."""
    same = mean_difference_interval(total=20, squares=80, images=400)
    assert same == difference_interval(30, 50, 400)
    different = mean_difference_interval(total=20, squares=160 / 4, images=400)
    assert same[0] < different[0] < 0.05 < different[1] < same[1]
