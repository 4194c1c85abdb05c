"""95 % confidence intervals of accuracies, and of differences on the same images."""

from __future__ import annotations

from math import sqrt

__all__ = ["Interval", "difference_interval", "mean_difference_interval", "wilson_interval"]

Interval = tuple[float, float]
"""Lower and upper end, as shares."""

_Z = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


def wilson_interval(correct: int, images: int) -> Interval:
    """Compute the 95 % interval of an accuracy: Wilson's score interval.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22 (1927).

    Args:
        correct: Number of correct images.
        images: Number of images, at least 1.

    Returns:
        Lower and upper end, in [0, 1].
    """
    share, spread = correct / images, _Z**2 / images
    centre = (share + spread / 2) / (1 + spread)
    half = sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    # An end at 0 or 1 is exact.
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == images else centre + half
    return low, high


def difference_interval(lost: int, gained: int, images: int) -> Interval:
    """Compute the 95 % interval of the difference of two accuracies on the same images.

    The adjusted Wald interval for paired proportions, with half an image added to each cell of the
    2x2 table. Source: A. Agresti and Y. Min, Simple improved confidence intervals for comparing
    matched proportions, Statistics in Medicine 24 (2005).

    Args:
        lost: Images that only the first network classifies correctly.
        gained: Images that only the second network classifies correctly.
        images: Number of images, at least 1.

    Returns:
        Lower and upper end of the second accuracy minus the first, in [-1, 1].
    """
    return mean_difference_interval(gained - lost, gained + lost, images)


def mean_difference_interval(total: float, squares: float, images: int) -> Interval:
    """Compute the 95 % interval of a mean difference of scores on the same images.

    `difference_interval` for fractions: an image may count in part, where one of the scores is the
    mean of several networks.

    Args:
        total: Sum of the differences, each between -1 and 1.
        squares: Sum of their squares.
        images: Number of images, at least 1.

    Returns:
        Lower and upper end of the mean difference, in [-1, 1].
    """
    count = images + 2
    half = _Z * sqrt(squares + 1 - total**2 / count) / count
    return max(-1.0, total / count - half), min(1.0, total / count + half)
