"""The model card in Markdown: student and teacher compared, blocks, time and energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.config.options import choice_text
from pbkd.report.energy import ENERGY_HEADS, energy_caption, energy_notes, energy_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.results import BlockResult, PhaseResult, RunResult

__all__ = [
    "Figure",
    "all_notes",
    "card",
    "comparison",
    "figures",
    "joules_notes",
    "phase_rows",
    "points",
    "ratio",
    "replaced_totals",
    "score_name",
    "stage_scores",
    "verdict",
]


def card(result: RunResult) -> str:
    """Return the model card of a run's student as Markdown."""
    sections = [
        f"# {result.student.name}",
        verdict(result),
        _markdown(("", "teacher", "student", "ratio"), comparison(result)),
        f"## {score_name(result).capitalize()} of the student, on the test split, by stage",
        _markdown(("stage", score_name(result)), _stages(result)),
        "## Blocks",
        _markdown(
            ("block", "input", "parameters", "MACs", "alone it loses", "replaced"),
            [_block_row(block) for block in result.blocks],
        ),
        "## Time and energy",
        _markdown(("phase", "seconds", "CPU seconds", "joules"), phase_rows(result.phases)),
        *_energy(result),
        "\n".join(f"- {note}" for note in all_notes(result)),
        "## Reproduction",
        f"```\n{result.command}\n```",
        "\n".join(f"- {name}: {value}" for name, value in result.environment.items()),
        "MACs are multiply-accumulates of convolutions and matrix products, for one image.",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _energy(result: RunResult) -> list[str]:
    rows = energy_rows(result.energy)
    return [_markdown(ENERGY_HEADS, rows), energy_caption(result.energy)] if rows else []


def verdict(result: RunResult) -> str:
    """Summarise the run in one sentence: blocks replaced, savings, accuracy change."""
    before, after = replaced_totals(result.blocks)
    count = sum(block.replaced for block in result.blocks)
    if not count:
        return "No replacement was good enough: the student is the teacher."
    return (
        f"{count} of {len(result.blocks)} blocks were replaced, with"
        f" {_change(before[0], after[0])} parameters and {_change(before[1], after[1])} MACs in"
        f" them; the student {_kept(result)}."
    )


def _kept(result: RunResult) -> str:
    before, after = result.teacher.accuracy, result.student.accuracy
    if before is None or after is None:
        return f"agrees with its teacher on {points(result.student.agreement)} of the test images"
    lost = 100 * (before - after)
    change = f"lost {lost:.2f} points" if lost > 0 else f"gained {abs(lost):.2f} points"
    return f"{change} of test accuracy"


def score_name(result: RunResult) -> str:
    """Return the name of the run's score: accuracy, or without labels agreement."""
    return "agreement with the teacher" if result.accuracy_reason else "accuracy"


def stage_scores(result: RunResult) -> dict[str, float | None]:
    """Return the student's score on the test split by stage."""
    return result.agreements if result.accuracy_reason else result.accuracies


def _change(before: int, after: int) -> str:
    if after == 0:
        return "no"
    return f"{before / after:.1f}x fewer" if after <= before else f"{after - before:,} more"


def replaced_totals(blocks: Sequence[BlockResult]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (parameters, MACs) before and after, summed over the replaced blocks."""
    replaced = [block for block in blocks if block.replaced]
    before = sum(b.parameters_before for b in replaced), sum(b.macs_before for b in replaced)
    after = sum(b.parameters_after for b in replaced), sum(b.macs_after for b in replaced)
    return before, after


@dataclass(frozen=True)
class Figure:
    """A figure of teacher and student.

    Attributes:
        name: Its name.
        numbers: The values of teacher and student; None if not measured.
        written: The formatted values.
        ratio: Teacher / student, formatted; empty if meaningless.
    """

    name: str
    numbers: tuple[float | None, float | None]
    written: tuple[str, str]
    ratio: str = ""


def comparison(result: RunResult) -> list[tuple[str, str, str, str]]:
    """Return rows of (figure, teacher, student, teacher / student)."""
    return [(figure.name, *figure.written, figure.ratio) for figure in figures(result)]


def figures(result: RunResult) -> list[Figure]:
    """Return the figures by which teacher and student are compared."""
    teacher, student = result.teacher, result.student
    milliseconds = [
        (f"latency, {what} of a batch of {of_teacher.batch}", 1000 * t, 1000 * s)
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
        *_scores(result),
        *(Figure(name, (t, s), (f"{t:,}", f"{s:,}"), ratio(t, s)) for name, t, s in counts),
        *(
            Figure(name, (t, s), (f"{t:.2f} ms", f"{s:.2f} ms"), ratio(t, s))
            for name, t, s in milliseconds
        ),
    ]


def _scores(result: RunResult) -> list[Figure]:
    accuracies = result.teacher.accuracy, result.student.accuracy
    scores = [Figure("test accuracy", accuracies, (points(accuracies[0]), points(accuracies[1])))]
    if result.accuracy_reason:
        agreement = result.student.agreement
        scores.append(Figure(score_name(result), (None, agreement), ("", points(agreement))))
    return scores


def ratio(teacher: float, student: float) -> str:
    """Format teacher / student; empty if the student's value is zero."""
    return f"{teacher / student:.2f}x" if student else ""


def points(share: float | None) -> str:
    """Format a share in per cent; `not measured` for None."""
    return "not measured" if share is None else f"{100 * share:.2f} %"


def phase_rows(phases: Sequence[PhaseResult]) -> list[tuple[str, str, str, str]]:
    """Return rows of (phase, seconds, CPU seconds, joules by domain)."""
    return [
        (phase.name, f"{phase.seconds:.2f}", f"{phase.cpu_seconds:.2f}", _joules(phase))
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


def _joules(phase: PhaseResult) -> str:
    if phase.joules is None:
        return "not measured"
    return ", ".join(f"{domain} {joules:.1f}" for domain, joules in phase.joules.items())


def _stages(result: RunResult) -> list[tuple[str, str]]:
    return [(stage, points(share)) for stage, share in stage_scores(result).items()]


def _block_row(block: BlockResult) -> tuple[str, ...]:
    return (
        block.name,
        "x".join(map(str, block.input_shape)),
        f"{block.parameters_before:,} to {block.parameters_after:,}",
        f"{block.macs_before:,} to {block.macs_after:,}",
        "not scored" if block.solo_drop is None else f"{100 * block.solo_drop:.1f} points",
        f"yes: {choice_text(block.builder)}" if block.replaced else f"no: {block.reason}",
    )


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |"
        for row in lines
    )
