"""The model card in Markdown: student and teacher compared, blocks, time and energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.config.options import choice_text
from pbkd.report.energy import ENERGY_HEADS, energy_caption, energy_notes, energy_rows
from pbkd.report.exports import export_caption, export_heads, export_rows
from pbkd.report.input import input_section
from pbkd.report.markdown import markdown_code, markdown_table, markdown_text
from pbkd.report.rivals import RIVAL_HEADS, rival_notes, rival_rows, rival_sentence
from pbkd.report.scores import interval_text, loss_text, points, score_text
from pbkd.report.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.results import BlockResult, Latency, NetworkResult, PhaseResult, RunResult
    from pbkd.runs.finished import Finished

__all__ = [
    "PHASE_HEADS",
    "Figure",
    "all_notes",
    "card",
    "comparison",
    "cost_figures",
    "figures",
    "joules_notes",
    "phase_rows",
    "ratio",
    "score_name",
    "solo_text",
    "stage_scores",
]


def card(result: RunResult, run: Finished | None = None) -> str:
    """Return the model card of a run's student as Markdown.

    Args:
        result: The result of the run.
        run: The finished run, whose baselines the card shows; None while it has none.
    """
    sections = [
        f"# {markdown_text(result.student.name)}",
        markdown_text(verdict(result)),
        markdown_table(("", "teacher", "student", "ratio"), comparison(result)),
        f"## {score_name(result).capitalize()} of the student, on the test split, by stage",
        markdown_table(("stage", score_name(result)), _stages(result)),
        *_exports(result),
        *_rivals(run),
        "## Blocks",
        markdown_table(
            ("block", "input", "parameters", "MACs", "alone in the teacher", "replaced"),
            [_block_row(block) for block in result.blocks],
        ),
        "## Time and energy",
        markdown_table(PHASE_HEADS, phase_rows(result.phases)),
        *_energy(result),
        "\n".join(f"- {markdown_text(note)}" for note in all_notes(result)),
        *input_section(result),
        "## Reproduction",
        markdown_code(result.command),
        "\n".join(
            f"- {markdown_text(f'{name}: {value}')}" for name, value in result.environment.items()
        ),
        "MACs are multiply-accumulates of convolutions and matrix products, for one image. In"
        " brackets are 95 % intervals; the interval of a change is for the same images.",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _exports(result: RunResult) -> list[str]:
    if not result.exports:
        return []
    heads = export_heads(result.exports, score_name(result))
    return [
        "## Exported networks",
        markdown_table(heads, export_rows(result.exports, result.test_images)),
        markdown_text(export_caption(result.exports)),
    ]


def _rivals(run: Finished | None) -> list[str]:
    sentence = rival_sentence(run) if run else None
    if run is None or sentence is None:
        return []
    return [
        "## Rivals at the same cost",
        markdown_text(sentence),
        markdown_table(RIVAL_HEADS, rival_rows(run)),
        "\n".join(f"- {markdown_text(note)}" for note in rival_notes(run)),
    ]


def _energy(result: RunResult) -> list[str]:
    rows = energy_rows(result.energy)
    if not rows:
        return []
    return [markdown_table(ENERGY_HEADS, rows), markdown_text(energy_caption(result.energy))]


def score_name(result: RunResult) -> str:
    """Return the name of the run's score: accuracy, or without labels agreement."""
    return "agreement with the teacher" if result.accuracy_reason else "accuracy"


def stage_scores(result: RunResult) -> dict[str, float | None]:
    """Return the student's score on the test split by stage."""
    return result.agreements if result.accuracy_reason else result.accuracies


@dataclass(frozen=True)
class Figure:
    """A figure of teacher and student.

    Attributes:
        name: Its name.
        numbers: The values of teacher and student; None if not measured.
        written: The formatted values.
        ratio: Teacher / student, formatted; empty if meaningless.
        intervals: The 95 % intervals of both, formatted; empty if unknown.
        images: Number of images behind the intervals.
    """

    name: str
    numbers: tuple[float | None, float | None]
    written: tuple[str, str]
    ratio: str = ""
    intervals: tuple[str, str] = ("", "")
    images: int | None = None


def comparison(result: RunResult) -> list[tuple[str, str, str, str]]:
    """Return rows of (figure, teacher, student, teacher / student), with rows of intervals."""
    rows = []
    for figure in figures(result):
        rows.append((figure.name, *figure.written, figure.ratio))
        if any(figure.intervals):
            rows.append((f"95 % interval, {figure.images:,} images", *figure.intervals, ""))
    return rows


def figures(result: RunResult) -> list[Figure]:
    """Return the figures by which teacher and student are compared."""
    return [*_scores(result), *cost_figures(result.teacher, result.student)]


def cost_figures(teacher: NetworkResult, student: NetworkResult) -> list[Figure]:
    """Return parameters, MACs and latencies."""
    milliseconds = [
        (f"latency, {what} of {_batch(of_teacher)}", 1000 * t, 1000 * s)
        for of_teacher, of_student in zip(teacher.latencies, student.latencies, strict=True)
        for what, t, s in (
            ("median", of_teacher.median_seconds, of_student.median_seconds),
            ("95th percentile", of_teacher.p95_seconds, of_student.p95_seconds),
        )
    ]
    counts = [
        ("parameters", teacher.parameters, student.parameters),
        ("MACs", teacher.macs, student.macs),
    ]
    return [
        *(Figure(name, (t, s), (f"{t:,}", f"{s:,}"), ratio(t, s)) for name, t, s in counts),
        *(
            Figure(name, (t, s), (f"{t:.2f} ms", f"{s:.2f} ms"), ratio(t, s))
            for name, t, s in milliseconds
        ),
    ]


def _batch(latency: Latency) -> str:
    where = "" if latency.engine == "torch" else f" in {latency.engine}"
    return f"a batch of {latency.batch}{where}"


def _scores(result: RunResult) -> list[Figure]:
    accuracies = result.teacher.accuracy, result.student.accuracy
    written = points(accuracies[0]), points(accuracies[1])
    if not result.accuracy_reason:
        return [Figure("test accuracy", accuracies, written, **_intervals(result))]
    agreement = result.student.agreement
    return [
        Figure("test accuracy", accuracies, written),
        Figure(
            score_name(result), (None, agreement), ("", points(agreement)), **_intervals(result)
        ),
    ]


def _intervals(result: RunResult) -> dict[str, Any]:
    if result.test_images is None:
        return {}
    teacher, student = (
        f"{interval_text(network.interval)} %" if network.interval else ""
        for network in (result.teacher, result.student)
    )
    return {"intervals": (teacher, student), "images": result.test_images}


def ratio(teacher: float, student: float) -> str:
    """Format teacher / student; empty if the student's value is zero."""
    return f"{teacher / student:.2f}x" if student else ""


PHASE_HEADS = ("phase", "seconds", "predicted", "CPU seconds", "joules")


def phase_rows(phases: Sequence[PhaseResult]) -> list[tuple[str, str, str, str, str]]:
    """Return rows for `PHASE_HEADS`; the joules by domain."""
    return [
        (
            phase.name,
            f"{phase.seconds:.2f}",
            "" if phase.predicted_seconds is None else f"{phase.predicted_seconds:.2f}",
            f"{phase.cpu_seconds:.2f}",
            _joules(phase),
        )
        for phase in phases
    ]


def joules_notes(phases: Sequence[PhaseResult]) -> list[str]:
    """Return a sentence for each reason why joules are missing."""
    reasons = dict.fromkeys(phase.joules_reason for phase in phases if phase.joules_reason)
    return [f"Joules not measured: {reason}." for reason in reasons]


def all_notes(result: RunResult) -> list[str]:
    """Return the notes of a run, and the reasons of missing figures."""
    reason = result.accuracy_reason
    unlabelled = [f"Accuracy not measured: {reason}."] if reason else []
    energy = [*joules_notes(result.phases), *energy_notes(result.energy)]
    return [*unlabelled, *result.notes, *energy]


def solo_text(block: BlockResult) -> str:
    """Describe what a replacement alone does to the teacher's accuracy."""
    if block.solo_drop is None:
        return "not scored"
    return loss_text(block.solo_drop, block.solo_interval, block.solo_images, "validation")


def _joules(phase: PhaseResult) -> str:
    if phase.joules is None:
        return "not measured"
    return ", ".join(f"{domain} {joules:.1f}" for domain, joules in phase.joules.items())


def _stages(result: RunResult) -> list[tuple[str, str]]:
    images = result.test_images
    return [(stage, score_text(share, images)) for stage, share in stage_scores(result).items()]


def _block_row(block: BlockResult) -> tuple[str, ...]:
    return (
        block.name,
        "x".join(map(str, block.input_shape)),
        f"{block.parameters_before:,} to {block.parameters_after:,}",
        f"{block.macs_before:,} to {block.macs_after:,}",
        solo_text(block),
        f"yes: {choice_text(block.builder)}" if block.replaced else f"no: {block.reason}",
    )
