"""Comparison of finished runs, as a table of rounded figures and as CSV in full precision."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from pbkd.report.card import joules_notes
from pbkd.report.columns import Column, Value, interval_ends, percent, seconds, times
from pbkd.report.compare_baselines import baseline_columns
from pbkd.report.csv_text import csv_text
from pbkd.report.scores import interval_text, score_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pbkd.core.intervals import Interval
    from pbkd.runs.finished import Finished

__all__ = [
    "compare_csv",
    "compare_notes",
    "compare_rows",
    "joules_reason",
    "latency",
    "total_joules",
]


def compare_rows(runs: Sequence[Finished]) -> tuple[list[str], list[list[str]]]:
    """Return the table's heads and a row per run, in their order."""
    shown = [column for column in _columns(runs) if column.head is not None]
    heads = [column.head or "" for column in shown]
    return heads, [[_cell(column, run) for column in shown] for run in runs]


def compare_csv(runs: Sequence[Finished]) -> str:
    """Return the runs as CSV: full precision, the command last, empty if not measured."""
    columns = [column for column in _columns(runs) if column.name is not None]
    rows = ([column.value(run) for column in columns] for run in runs)
    return csv_text([[column.name for column in columns], *rows])


def compare_notes(runs: Sequence[Finished]) -> list[str]:
    """Return the reasons of missing figures, and what the brackets are."""
    notes: dict[str, list[str]] = {}
    for run in runs:
        for note in joules_notes(run.result.phases):
            notes.setdefault(note, []).append(run.name)
        if run.resumed:
            note = "Seconds, joules not measured: the run was resumed; only the rest was measured."
            notes.setdefault(note, []).append(run.name)
    missing = [f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in notes.items()]
    brackets = "In brackets: 95 % intervals; that of the change is for the same images."
    return [brackets, *missing] if any(run.result.test_images for run in runs) else missing


def _cell(column: Column, run: Finished) -> str:
    value = column.value(run)
    return "not measured" if value is None else column.write(value)


def _columns(runs: Sequence[Finished]) -> list[Column]:
    return [
        Column("run", "run", str, attrgetter("name")),
        Column("teacher", "teacher", str, attrgetter("result.teacher.name")),
        *_accuracies(),
        *_agreement(runs),
        *_sizes(),
        *_latencies(runs),
        Column("seconds", "seconds", seconds, attrgetter("seconds")),
        Column("blockwise_seconds", "blockwise s", seconds, attrgetter("blockwise_seconds")),
        Column("fine_tuning_seconds", "tuning s", seconds, attrgetter("fine_tuning_seconds")),
        *baseline_columns(runs),
        *_joules(runs),
        Column("command", None, str, attrgetter("result.command")),
    ]


def _sizes() -> Iterator[Column]:
    """Yield MACs and parameters, of teacher and student, and teacher over student."""
    for figure, head in (("macs", "MACs"), ("parameters", "parameters")):
        for role in ("teacher", "student"):
            yield Column(f"{role}_{figure}", None, str, _of_network(role, figure))
        yield Column(f"{figure}_ratio", head, times, _size_ratio(figure))


def _accuracies() -> Iterator[Column]:
    """Yield accuracies on the test split with intervals and, for CSV, on the validation split."""
    yield Column("test_images", "images", "{:,}".format, attrgetter("result.test_images"))
    for role in ("teacher", "student"):
        accuracy = _of_network(role, "accuracy")
        yield Column(None, f"{role}'s accuracy", str, partial(_scored, role))
        yield Column(f"{role}_accuracy", None, str, accuracy)
        yield from interval_ends(f"{role}_accuracy", partial(_accuracy_interval, role))
    yield Column(None, "change in points", str, _change)
    yield Column("points_lost", None, str, _points_lost)
    yield from interval_ends("points_lost", _points_lost_interval)
    for stage in ("assembled", "recalibrated", "fine-tuned"):
        name = stage.replace("-", "_")
        yield Column(f"{name}_accuracy", stage, percent, partial(_stage, "accuracies", stage))
        yield Column(f"{name}_validation", None, str, partial(_stage, "validation", stage))


def _accuracy_interval(role: str, run: Finished) -> Interval | None:
    network = getattr(run.result, role)
    return None if network.accuracy is None else network.interval


def _scored(role: str, run: Finished) -> str | None:
    accuracy = getattr(run.result, role).accuracy
    return None if accuracy is None else score_text(accuracy, run.result.test_images)


def _change(run: Finished) -> str | None:
    lost, change = _points_lost(run), run.result.change
    if lost is None:
        return None
    return f"{-lost:+.2f}" + (f" ({interval_text(change.interval)})" if change else "")


def _agreement(runs: Sequence[Finished]) -> Iterator[Column]:
    """Yield the student's agreement with its teacher, if a run had no labels."""
    if any(run.result.accuracy_reason for run in runs):
        yield Column("agreement", None, str, _of_network("student", "agreement"))
        yield Column(None, "agreement", str, _agreed)
        yield Column("accuracy_reason", None, str, attrgetter("result.accuracy_reason"))


def _agreed(run: Finished) -> str | None:
    agreement = run.result.student.agreement
    return None if agreement is None else score_text(agreement, run.result.test_images)


def _latencies(runs: Sequence[Finished]) -> Iterator[Column]:
    """Yield the median latencies of every batch size, and teacher over student."""
    for batch in sorted({n.batch for run in runs for n in run.result.teacher.latencies}):
        for role in ("teacher", "student"):
            name = f"{role}_latency_seconds_batch_{batch}"
            yield Column(name, None, str, partial(latency, role, batch))
        yield Column(
            f"latency_ratio_batch_{batch}",
            f"latency at {batch}",
            times,
            partial(_latency_ratio, batch),
        )


def _joules(runs: Sequence[Finished]) -> Iterator[Column]:
    """Yield one column for the table; for CSV one per domain and the reason of missing ones."""
    yield Column(None, "joules", str, _joules_text)
    domains = dict.fromkeys(domain for run in runs for domain in total_joules(run))
    for domain in domains:
        yield Column(f"joules_{domain}", None, str, partial(_domain_joules, domain))
    yield Column("joules_reason", None, str, joules_reason)


def total_joules(run: Finished) -> dict[str, float]:
    """Return the joules of the domains that were measured throughout; none if resumed."""
    if run.result.energy and not run.resumed:
        domains = run.result.energy.domains
        return {domain.name: domain.joules for domain in domains if domain.joules is not None}
    phases = [phase.joules or {} for phase in run.result.phases]
    if run.resumed or not phases:
        return {}
    return {
        domain: sum(joules[domain] for joules in phases)
        for domain in phases[0]
        if all(domain in joules for joules in phases)
    }


def _domain_joules(domain: str, run: Finished) -> float | None:
    return total_joules(run).get(domain)


def _joules_text(run: Finished) -> str | None:
    joules = total_joules(run)
    return ", ".join(f"{domain} {value:.1f}" for domain, value in joules.items()) or None


def joules_reason(run: Finished) -> str | None:
    """Return why joules of a run are missing; None if none are."""
    reasons = dict.fromkeys(phase.joules_reason for phase in run.result.phases)
    resumed = ["the run was resumed"] if run.resumed else []
    return "; ".join([*resumed, *filter(None, reasons)]) or None


def _of_network(role: str, figure: str) -> Callable[[Finished], Value]:
    return attrgetter(f"result.{role}.{figure}")


def _size_ratio(figure: str) -> Callable[[Finished], Value]:
    return lambda run: _ratio(
        getattr(run.result.teacher, figure), getattr(run.result.student, figure)
    )


def _points_lost(run: Finished) -> float | None:
    before, after = run.result.teacher.accuracy, run.result.student.accuracy
    return None if before is None or after is None else 100 * (before - after)


def _points_lost_interval(run: Finished) -> Interval | None:
    if run.result.change is None:
        return None
    low, high = run.result.change.interval
    return -100 * high, -100 * low


def _stage(split: str, stage: str, run: Finished) -> float | None:
    score: float | None = getattr(run.result, split).get(stage)
    return score


def latency(role: str, batch: int, run: Finished) -> float | None:
    """Return the median seconds of a batch of the `teacher` or the `student`, if timed."""
    network = getattr(run.result, role)
    medians = (each.median_seconds for each in network.latencies if each.batch == batch)
    return next(medians, None)


def _latency_ratio(batch: int, run: Finished) -> float | None:
    return _ratio(latency("teacher", batch, run), latency("student", batch, run))


def _ratio(teacher: float | None, student: float | None) -> float | None:
    return teacher / student if teacher is not None and student else None
