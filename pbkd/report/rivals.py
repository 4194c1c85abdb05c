"""Baselines beside a run's student: who is ahead, and at what cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.report.scores import interval_text, points, score_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pbkd.core.baselines import BaselineResult, BaselineTraining
    from pbkd.core.intervals import Interval
    from pbkd.core.results import Latency
    from pbkd.runs.finished import Finished

__all__ = ["RIVAL_HEADS", "lead_text", "rival_notes", "rival_rows", "rival_sentence"]

RIVAL_HEADS = (
    "network", "test score", "student ahead by", "MACs", "ms at 1", "ms at 64", "epochs",
    "seconds", "CPU seconds",
)  # fmt: skip


def rival_sentence(run: Finished) -> str | None:
    """Say who is ahead, the student or the strongest baseline; None without baselines."""
    rival = run.strongest
    if rival is None:
        return None
    return (
        f"The strongest rival is {rival.name} ({rival.network}) with {_score(rival)}, at"
        f" {_cost(run, rival)}; {_standing(rival.difference, rival.interval)}."
    )


def rival_rows(run: Finished) -> list[tuple[str, ...]]:
    """Return rows for `RIVAL_HEADS`: the student, then each baseline."""
    student, images = run.result.student, run.result.test_images
    score = student.score
    first = (
        "student (pbkd)",
        score_text(score, images),
        "",
        f"{student.macs:,}",
        "",
        "",
        "",
        "not measured" if run.training_seconds is None else f"{run.training_seconds:.1f}",
        "not measured" if run.training_cpu_seconds is None else f"{run.training_cpu_seconds:.1f}",
    )
    return [first, *(_row(baseline) for baseline in run.baselines.values())]


def rival_notes(run: Finished) -> list[str]:
    """Return how the baselines were trained, and the remarks on each."""
    notes = [f"{row.name}: {note}" for row in run.baselines.values() for note in row.notes]
    trained = [row for row in run.baselines.values() if row.epochs]
    return [
        "Milliseconds are medians for a batch of 1 and of 64, measured in turns with the student,"
        " whose follow in brackets.",
        *([_trained(trained)] if trained else []),
        *notes,
    ]


def lead_text(rival: BaselineResult) -> str:
    """Format how far the student is ahead, in points: `+1.95 (1.5 to 2.4)`."""
    return f"{100 * rival.difference:+.2f} ({interval_text(rival.interval)})"


def _trained(trained: list[BaselineResult]) -> str:
    tried = "; ".join(
        f"{row.name} {', '.join(f'{t.lr:g} ({points(t.validation)})' for t in _rates(row))}"
        for row in trained
    )
    return (
        "Seconds are those of one training. Learning rates, and the validation scores by which the"
        f" best was chosen: {tried}."
    )


def _rates(row: BaselineResult) -> Iterator[BaselineTraining]:
    seed = row.trainings[0].seed
    yield from (training for training in row.trainings if training.seed == seed)


def _row(row: BaselineResult) -> tuple[str, ...]:
    milliseconds = [
        f"{_ms(rival)} ({_ms(student)})"
        for rival, student in zip(row.latencies, row.student_latencies, strict=True)
    ]
    return (
        f"{row.name}: {row.network}",
        _score(row),
        lead_text(row),
        f"{row.macs:,}",
        *(milliseconds or ("", "")),
        f"{row.epochs}",
        f"{row.seconds:.1f}",
        f"{row.cpu_seconds:.1f}",
    )


def _score(row: BaselineResult) -> str:
    low, high = row.spread
    count = len(row.best)
    seeds = f" ({count} seeds: {100 * low:.2f} to {100 * high:.2f})" if count > 1 else ""
    return f"{points(row.score)}{seeds}"


def _ms(latency: Latency) -> str:
    return f"{1000 * latency.median_seconds:.2f}"


def _cost(run: Finished, rival: BaselineResult) -> str:
    """Compare the MACs and the latency of the largest batch with the student's."""
    student = run.result.student.macs
    parts = [f"{rival.macs / student:.2f} times its MACs"] if student else []
    if rival.latencies:
        ratio = rival.latencies[-1].median_seconds / rival.student_latencies[-1].median_seconds
        parts.append(f"{ratio:.2f} times its milliseconds")
    return " and ".join(parts)


def _standing(difference: float, interval: Interval) -> str:
    low, high = interval
    if low > 0:
        return f"the student is {_points(difference)} ahead (95 %: {interval_text(interval)})"
    if high < 0:
        ends = interval_text((-high, -low))
        return f"the rival is {_points(-difference)} ahead (95 %: {ends})"
    return (
        f"the student's {100 * difference:+.2f} points are no more than chance (95 %:"
        f" {interval_text(interval)})"
    )


def _points(share: float) -> str:
    return f"{100 * share:.2f} points"
