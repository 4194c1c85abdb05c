"""Accuracies and their changes with 95 % intervals, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.intervals import wilson_interval

if TYPE_CHECKING:
    from pbkd.core.intervals import Interval


__all__ = ["interval_text", "loss_text", "points", "score_text", "share_interval"]

_NARROW = 0.01  # a point


def points(share: float | None) -> str:
    """Format a share in per cent; `not measured` for None."""
    return "not measured" if share is None else f"{100 * share:.2f} %"


def interval_text(interval: Interval) -> str:
    """Format an interval in per cent or points: `-2.5 to 5.9`; narrow ones with two decimals."""
    low, high = interval
    digits = 1 if high - low > _NARROW else 2
    return " to ".join(_signed(100 * end, digits) for end in (low, high))


def score_text(share: float | None, images: int | None) -> str:
    """Format an accuracy with its interval: `98.61 % (96.8 to 99.4)`.

    Args:
        share: The accuracy, in [0, 1]; None if not measured.
        images: The number of images; None if it is unknown.
    """
    interval = share_interval(share, images)
    return points(share) if interval is None else f"{points(share)} ({interval_text(interval)})"


def share_interval(share: float | None, images: int | None) -> Interval | None:
    """Compute the interval of an accuracy; None if it is unknown of how many images."""
    if share is None or not images:
        return None
    return wilson_interval(min(images, round(share * images)), images)


def loss_text(
    drop: float, interval: Interval | None, images: int | None, split: str, digits: int = 1
) -> str:
    """Format a change of accuracy: `loses 1.7 points on 60 validation images (95 %: -2.5 to 5.9)`.

    Args:
        drop: The accuracy lost, a share; if negative, the text says `gains`.
        interval: Its 95 % interval; None if it is unknown.
        images: The number of images; None if it is unknown.
        split: What the images are called.
        digits: Decimals of the points.
    """
    verb, sign = ("loses", 1) if drop >= 0 else ("gains", -1)
    on = f"{split} images" if images is None else f"{images:,} {split} images"
    text = f"{verb} {100 * abs(drop):.{digits}f} points on {on}"
    if interval is None:
        return text
    ends = sorted(sign * end for end in interval)
    return f"{text} (95 %: {interval_text((ends[0], ends[1]))})"


def _signed(value: float, digits: int) -> str:
    """Format a number, without a minus sign before zero."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if not float(text) else text
