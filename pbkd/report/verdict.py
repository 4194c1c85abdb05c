"""The summary of a run in some sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.report.scores import interval_text, points, share_interval

if TYPE_CHECKING:
    from pbkd.core.results import RunResult

__all__ = ["verdict"]


def verdict(result: RunResult) -> str:
    """Summarise a run: blocks replaced, size, speed and accuracy of the student, and its target."""
    return " ".join([_change(result), *(wish.sentence for wish in result.wishes)])


def _change(result: RunResult) -> str:
    count = sum(bool(block.replaced) for block in result.blocks)
    if not count:
        return "No replacement was good enough: the student is the teacher."
    teacher, student = result.teacher, result.student
    return (
        f"{count} of {len(result.blocks)} blocks were replaced: the student has"
        f" {_fewer(teacher.parameters, student.parameters)} parameters and"
        f" {_fewer(teacher.macs, student.macs)} MACs than its teacher{_speed(result)}; it"
        f" {_kept(result)}."
    )


def _fewer(before: int, after: int) -> str:
    if after > before:
        return f"{after - before:,} more"
    return f"{before / after:.1f}x fewer" if after else f"{before:,} fewer"


def _speed(result: RunResult) -> str:
    """Compare the median latency of the larger batch."""
    timed = zip(result.teacher.latencies, result.student.latencies, strict=True)
    before, after = max(timed, key=lambda pair: pair[0].batch, default=(None, None))
    if before is None or after is None:
        return ""
    times = (f"{1000 * latency.median_seconds:.2f}" for latency in (after, before))
    return f" and takes {' instead of '.join(times)} ms for a batch of {before.batch}"


def _kept(result: RunResult) -> str:
    before, after = result.teacher.accuracy, result.student.accuracy
    images = "" if result.test_images is None else f"{result.test_images:,} "
    if before is None or after is None:
        share = result.student.agreement
        interval = share_interval(share, result.test_images)
        surely = f" (95 %: {interval_text(interval)})" if interval else ""
        return (
            f"agrees with its teacher on {points(share)} of {images or 'the '}test images{surely}"
        )
    verb, sign = ("lost", -1) if after < before else ("gained", 1)
    text = f"{verb} {100 * abs(after - before):.2f} points of test accuracy"
    if result.change is None:
        return text
    low, high = sorted(sign * end for end in result.change.interval)
    return f"{text} on {images}images (95 %: {interval_text((low, high))})"
