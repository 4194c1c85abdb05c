"""The HTML page of one run: result, blocks, timeline, time and energy, configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_of
from pbkd.core.events import EpochDone
from pbkd.report.card import (
    Figure,
    all_notes,
    figures,
    joules_notes,
    phase_rows,
    ratio,
    score_name,
    stage_scores,
)
from pbkd.report.chain_diagram import chain_picture, details
from pbkd.report.charts import bar, curves, pair
from pbkd.report.disagreements import changed_predictions
from pbkd.report.energy import ENERGY_HEADS, energy_caption, energy_notes, energy_rows
from pbkd.report.export_plots import export_plots
from pbkd.report.exports import export_caption, export_heads, export_rows
from pbkd.report.html import Section, page
from pbkd.report.markup import Markup, element, join, table
from pbkd.report.rivals import RIVAL_HEADS, rival_notes, rival_rows, rival_sentence
from pbkd.report.run_timeline import gantt_charts, speedup
from pbkd.report.scores import interval_text, score_text
from pbkd.report.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.core.energy_results import EnergyResult
    from pbkd.core.events import Event
    from pbkd.core.results import RunResult
    from pbkd.report.report_data import ReportData
    from pbkd.runs.finished import Finished

__all__ = ["run_page"]

_NO_ENERGY = "not measured: a run measures the energy of its phases, not of inference"


def run_page(data: ReportData, added: Sequence[Section] = ()) -> str:
    """Return the page of a finished run as HTML text.

    Args:
        data: The run.
        added: The sections that plugins wrote.
    """
    run, result = data.run, data.run.result
    sections = [
        Section("networks", "Teacher and student", _networks(result)),
        Section("stages", "Accuracy by stage", _stages(data)),
        *_exports(result),
        *_rivals(run),
        *added,
        Section("chain", "Blocks", _chain(data)),
        Section("course", "Timeline", gantt_charts(data)),
        Section("phases", "Time and energy", _phases(run)),
        Section("speed", "Speed-up over the serial procedure", speedup(data)),
        Section("changes", "Changed predictions", _changed(data)),
        Section("notes", "Notes", _list([*data.faults, *all_notes(result)], "None.")),
        Section("made", "Reproduction", _made(data)),
    ]
    return page(result.student.name, verdict(result), sections)


def _networks(result: RunResult) -> Markup:
    tiles = [_tile(figure) for figure in [*figures(result), *_weights(result)]]
    missing = [f"Energy of teacher and student: {_NO_ENERGY}."]
    if result.student.weight_bytes is None:
        missing.append("Size of weights: not recorded by the version of pbkd that made this run.")
    reasons = (element("p", reason, class_="why") for reason in missing)
    return join(element("div", *tiles, class_="tiles"), _change(result), *reasons)


def _change(result: RunResult) -> Markup:
    """Return the 2x2 table of correct predictions, and the difference, as a sentence."""
    change = result.change
    if change is None:
        return Markup()
    return element(
        "p",
        f"Of {change.images:,} test images both classify {change.both_correct:,} correctly, only"
        f" the teacher {change.lost:,}, only the student {change.gained:,}, and neither"
        f" {change.both_wrong:,}: the accuracy changes by {100 * change.difference:+.2f} points"
        f" (95 % interval: {interval_text(change.interval)}).",
    )


def _weights(result: RunResult) -> list[Figure]:
    before, after = result.teacher.weight_bytes, result.student.weight_bytes
    if before is None or after is None:
        return [Figure("size of weights", (None, None), ("not recorded", "not recorded"))]
    written = f"{before / 1e6:,.2f} MB", f"{after / 1e6:,.2f} MB"
    return [Figure("size of weights", (before, after), written, ratio(before, after))]


def _tile(figure: Figure) -> Markup:
    beside = element("b", f"teacher / student {figure.ratio}" if figure.ratio else "")
    parts = [element("figcaption", element("span", figure.name), beside), pair(figure)]
    if intervals := " and ".join(filter(None, figure.intervals)):
        said = f"95 % intervals: {intervals}; {figure.images:,} images"
        parts.append(element("p", said, class_="why"))
    return element("figure", *parts)


def _stages(data: ReportData) -> Markup:
    result = data.run.result
    score, tested = score_name(result), result.test_images
    rows: list[tuple[object, ...]] = [
        (
            stage,
            score_text(share, tested),
            score_text(result.validation.get(stage), result.validation_images),
        )
        for stage, share in stage_scores(result).items()
    ]
    heads = ("stage", f"{score}, test", f"{score}, validation")
    return join(
        table(heads, rows),
        element("p", "In brackets: 95 % intervals.", class_="why") if tested else Markup(),
        _fine_tuning(data.events, score),
    )


def _exports(result: RunResult) -> list[Section]:
    if not result.exports:
        return []
    score = score_name(result)
    content = join(
        table(
            export_heads(result.exports, score), [*export_rows(result.exports, result.test_images)]
        ),
        element("p", export_caption(result.exports), class_="why"),
        export_plots(result.exports, score),
    )
    return [Section("exports", "Exported networks", content)]


def _rivals(run: Finished) -> list[Section]:
    sentence = rival_sentence(run)
    if sentence is None:
        return []
    notes = (element("p", note, class_="why") for note in rival_notes(run))
    content = join(element("p", sentence), table(RIVAL_HEADS, [*rival_rows(run)]), *notes)
    return [Section("rivals", "Rivals at the same cost", content)]


def _fine_tuning(events: list[Event], score: str) -> Markup:
    """Return the loss and score curves of fine-tuning, if its epochs were recorded."""
    epochs = {
        event.epoch: event
        for event in events
        if isinstance(event, EpochDone) and event.phase == "fine-tuning"
    }
    if not epochs:
        return element("p", "No epochs of fine-tuning were recorded.", class_="why")
    series: dict[str, list[float | None]] = {
        "loss": [event.loss for event in epochs.values()],
        f"validation {score}": [event.accuracy for event in epochs.values()],
    }
    drawn = [
        element("figure", curves("fine-tuning", {label: values}, "fine-tuning epoch"))
        for label, values in series.items()
    ]
    return element("div", *drawn, class_="tiles")


def _chain(data: ReportData) -> Markup:
    result = data.run.result
    intro = (
        "MACs of each block's segment and of its replacement. Segments that are never replaced"
        " (`keep`) have no box."
    )
    return join(
        element("p", intro, class_="why"),
        chain_picture(result.blocks),
        details(result.blocks, result.candidates, _step_seconds(data)),
    )


def _step_seconds(data: ReportData) -> Mapping[str, float]:
    """Return the planned seconds of a training step by block."""
    if data.plan is None:
        return {}
    return {candidate_of(cost.name)[0]: cost.train_seconds for cost in data.plan.table.costs}


def _phases(run: Finished) -> Markup:
    phases = run.result.phases
    most = max((phase.seconds for phase in phases), default=0.0)
    rows: list[tuple[object, ...]] = [
        (name, seconds, bar(phase.seconds, most, f"{name}: {seconds} s"), *others)
        for phase, (name, seconds, *others) in zip(phases, phase_rows(phases), strict=True)
    ]
    total = "not measured: the run was resumed" if run.seconds is None else f"{run.seconds:.2f}"
    predicted = "" if run.predicted_seconds is None else f"{run.predicted_seconds:.2f}"
    rows.append(("whole run", total, "", predicted, "", ""))
    heads = ("phase", "seconds", "", "predicted", "CPU seconds", "joules by domain")
    energy = run.result.energy
    reasons = [*joules_notes(phases), *energy_notes(energy)]
    return join(
        table(heads, rows),
        _energy(energy),
        *(element("p", reason, class_="why") for reason in reasons),
    )


def _energy(energy: EnergyResult | None) -> Markup:
    rows: list[tuple[object, ...]] = [*energy_rows(energy)]
    if not rows:
        return Markup()
    return join(element("p", energy_caption(energy)), table(ENERGY_HEADS, rows))


def _changed(data: ReportData) -> Markup:
    return changed_predictions(data.changes, data.run.result.class_names)


def _made(data: ReportData) -> Markup:
    result = data.run.result
    environment = table(("environment", ""), [(k, v) for k, v in result.environment.items()])
    config = element("p", "Configuration: not recorded.", class_="why")
    if data.config is not None:
        config = join(element("h3", "Configuration"), element("pre", data.config))
    folder = element("p", f"Run folder: {data.run.name}")
    return join(folder, element("pre", result.command), environment, config)


def _list(texts: list[str], nothing: str) -> Markup:
    if not texts:
        return element("p", nothing)
    return element("ul", *(element("li", text) for text in texts))
