"""The HTML page of several runs: a sortable table, and plots of accuracy against cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pbkd.report.card import score_name
from pbkd.report.compare import compare_notes, compare_rows, joules_reason, latency, total_joules
from pbkd.report.html import Section, page
from pbkd.report.markup import Markup, element, join, table
from pbkd.report.pareto import Point, pareto
from pbkd.report.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pbkd.runs.finished import Finished

__all__ = ["compare_page"]


@dataclass(frozen=True)
class _Cost:
    """The horizontal axis of a plot.

    Attributes:
        axis: Its name, with the unit.
        of: Returns a run's cost for a role (`teacher` or `student`); None if not measured.
        why: Returns the reason why a run has no cost.
    """

    axis: str
    of: Callable[[str, Finished], float | None]
    why: Callable[[Finished], str]


def compare_page(runs: Sequence[Finished]) -> str:
    """Return the page of finished runs, in their order, as HTML text."""
    heads, rows = compare_rows(runs)
    numbered = [(str(number), *row) for number, row in enumerate(rows, 1)]
    notes = [*compare_notes(runs), *(f"{run.name}: {run.result.command}" for run in runs)]
    sections = [
        Section("table", "Table", table(("no.", *heads), list(numbered), class_="sortable")),
        Section("plots", "Accuracy against cost", _plots(runs)),
        Section("verdicts", "Summaries", _verdicts(runs)),
        Section("notes", "Notes", element("ul", *(element("li", note) for note in notes))),
    ]
    about = f"{len(runs)} runs. MACs, parameters and latencies are ratios, teacher over student."
    return page("Comparison of runs", about, sections)


def _verdicts(runs: Sequence[Finished]) -> Markup:
    return element("ol", *(element("li", f"{run.name}: {verdict(run.result)}") for run in runs))


def _plots(runs: Sequence[Finished]) -> Markup:
    plots = [
        _plot(runs, cost, score)
        for score in dict.fromkeys(score_name(run.result) for run in runs)
        for cost in _costs(runs)
    ]
    said = "The line connects the Pareto-optimal runs; rings are teachers."
    return join(element("p", said, class_="why"), element("div", *plots, class_="tiles"))


def _costs(runs: Sequence[Finished]) -> Iterator[_Cost]:
    yield _Cost("MACs of an image", _macs, lambda _run: "MACs not measured")
    for batch in sorted({n.batch for run in runs for n in run.result.teacher.latencies}):
        timed = partial(_milliseconds, batch)
        yield _Cost(f"ms for a batch of {batch}", timed, lambda _run: "such batches not timed")
    domains = dict.fromkeys(domain for run in runs for domain in total_joules(run))
    for domain in domains or ("any domain",):
        yield _Cost(f"joules of the whole run, {domain}", partial(_joules, domain), _no_joules)


def _macs(role: str, run: Finished) -> float | None:
    macs: int = getattr(run.result, role).macs
    return macs


def _milliseconds(batch: int, role: str, run: Finished) -> float | None:
    seconds = latency(role, batch, run)
    return None if seconds is None else 1000 * seconds


def _joules(domain: str, role: str, run: Finished) -> float | None:
    """Return the energy of the run; the energy of the teacher's training is unknown."""
    return total_joules(run).get(domain) if role == "student" else None


def _no_joules(run: Finished) -> str:
    return f"joules not measured: {joules_reason(run) or 'the meters had other domains'}"


def _plot(runs: Sequence[Finished], cost: _Cost, score: str) -> Markup:
    """Return a plot of the runs with both figures, and the reasons for missing runs."""
    points: list[Point] = []
    missing: dict[str, list[str]] = {}
    for number, run in enumerate(runs, 1):
        share, spent = _score(run, score), cost.of("student", run)
        if spent is None or share is None:
            why = f"its score is not {score}" if share is None else cost.why(run)
            missing.setdefault(why, []).append(str(number))
        else:
            points.append(Point(str(number), run.name, spent, share))
            points += _teacher(run, cost, score)
    caption = element("figcaption", f"{score} against {cost.axis}")
    drawn = pareto(list(dict.fromkeys(points)), cost.axis, score) if points else Markup()
    reasons = [
        element("p", f"Not drawn: {', '.join(numbers)}; {why}.", class_="why")
        for why, numbers in missing.items()
    ]
    return element("figure", caption, drawn, *reasons)


def _score(run: Finished, score: str) -> float | None:
    if score_name(run.result) != score:
        return None
    student = run.result.student
    return student.agreement if run.result.accuracy_reason else student.accuracy


def _teacher(run: Finished, cost: _Cost, score: str) -> Iterator[Point]:
    share, spent = run.result.teacher.accuracy, cost.of("teacher", run)
    if share is not None and spent is not None and score_name(run.result) == score:
        yield Point("", run.result.teacher.name, spent, share, teacher=True)
