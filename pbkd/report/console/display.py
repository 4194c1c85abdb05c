"""Plans, results and wide tables, as several commands print them."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from pbkd.core.terminal_text import terminal_text
from pbkd.report.card import (
    PHASE_HEADS,
    all_notes,
    comparison,
    phase_rows,
    score_name,
    stage_scores,
)
from pbkd.report.curve_table import curve_notes, curve_table
from pbkd.report.energy import ENERGY_HEADS, energy_caption, energy_rows
from pbkd.report.exports import export_caption, export_heads, export_rows
from pbkd.report.scores import score_text
from pbkd.report.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    from pbkd.core.curves import CurveResult
    from pbkd.core.results import RunResult
    from pbkd.planning.plan import Plan, PlannedBlock


__all__ = [
    "open_console",
    "print_table",
    "print_wide",
    "show_curve",
    "show_exports",
    "show_plan",
    "show_result",
]


def show_plan(plan: Plan, console: Console | None = None) -> None:
    """Print a plan: a row per block, and the predicted time."""
    console = console or open_console()
    columns = ("block", "input", "output", "parameters", "MACs", "ms/step", "worker")
    rows = [_plan_row(plan, planned) for planned in plan.blocks]
    blocks, trained = (
        len({planned.block.name for planned in some}) for some in (plan.blocks, plan.trained)
    )
    several = f" ({len(plan.trained)} candidates)" if len(plan.trained) > trained else ""
    print_table(console, columns, rows, left={0, 6})
    console.print(
        f"{trained} of {blocks} blocks{several}, {plan.workload.steps} steps each, on"
        f" {len(plan.workers)} worker(s): about {plan.seconds:.0f} s of blockwise training"
    )
    console.print(f"scheduler {plan.scheduler}{f': {plan.why}' if plan.why else ''}")


def show_result(result: RunResult, console: Console) -> None:
    """Print a result: teacher and student compared, phases, energy, verdict."""
    heads = ("", "teacher", "student", "teacher / student")
    print_table(console, heads, comparison(result), left={0})
    stages = ", ".join(
        f"{stage} {score_text(share, result.test_images)}"
        for stage, share in stage_scores(result).items()
    )
    console.print(f"student's test {score_name(result)} by stage: {stages}")
    print_table(console, PHASE_HEADS, phase_rows(result.phases), left={0, 4})
    if energy := energy_rows(result.energy):
        print_table(console, ENERGY_HEADS, energy, left={0, 1})
        console.print(energy_caption(result.energy))
    show_exports(result, console)
    for note in all_notes(result):
        console.print(note)
    console.print(verdict(result))
    console.print(f"everything is in {result.folder}; README.md there is the model card")


def show_exports(result: RunResult, console: Console) -> None:
    """Print the exports of a run, if there are any."""
    if result.exports:
        heads = export_heads(result.exports, score_name(result))
        rows = export_rows(result.exports, result.test_images)
        print_table(console, heads, rows, left={0, 1})
        console.print(export_caption(result.exports))


def show_curve(curve: CurveResult, console: Console) -> None:
    """Print the points of a curve, its phases, and what the figures are."""
    heads, rows = curve_table(curve)
    print_table(console, heads, rows, left={0, len(heads) - 1})
    print_table(console, PHASE_HEADS, phase_rows(curve.phases), left={0, 4})
    for note in curve_notes(curve):
        console.print(note)
    first = curve.students[0].name
    console.print(
        f"everything is in {curve.folder}, each student in points; take one by `pbkd pick"
        f" {quote(curve.folder)} {first}`"
    )


class _CleanConsole(Console):
    """Passes all text through `terminal_text`; rich's own control codes stay."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a string before it is measured."""
        return super().render_str(terminal_text(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Render an object as segments of text."""
        for segment in super().render(renderable, options):
            is_text = not segment.control
            yield segment._replace(text=terminal_text(segment.text)) if is_text else segment


def open_console(*, quiet: bool = False) -> Console:
    """Return a console without wrapping, markup or highlighting; tables fit the terminal.

    The text that it prints has no control characters but newlines and tabs.
    """
    console = _CleanConsole(quiet=quiet, highlight=False, soft_wrap=True, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    return console


def print_wide(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> None:
    """Print a table, never folded; the first `left` columns are aligned to the left."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = open_console()
    console.width = 10_000
    console.print(table)


def _plan_row(plan: Plan, planned: PlannedBlock) -> tuple[str, ...]:
    shapes = planned.block.input_shape, planned.block.output_shape
    sizes = ["x".join(map(str, shape)) for shape in shapes]
    if planned.cost is None:
        kept = f"kept: {planned.reason}"
        macs = f"{planned.macs_before:,}"
        return (planned.name, *sizes, f"{planned.parameters_before:,}", macs, "", kept)
    rank = plan.worker_of(planned.block.name)
    cost = planned.cost.teacher_seconds + planned.cost.train_seconds
    return (
        planned.name,
        *sizes,
        f"{planned.parameters_before:,} to {planned.parameters_after:,}",
        f"{planned.macs_before:,} to {planned.macs_after:,}",
        f"{1000 * cost:.2f}",
        "first free" if rank is None else str(rank),
    )


def print_table(
    console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: set[int]
) -> None:
    """Print a table whose cells fold; the columns in `left` are aligned to the left."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index in left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
