"""Cross-checks of a benchmark: the steps that were taken, and the predicted seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pbkd.bench.result import ProcedureResult

__all__ = ["TOLERANCE", "check_predictions", "check_steps"]

TOLERANCE = 0.25
"""The share of the measured seconds by which predicted seconds may differ."""


def check_steps(measurements: Sequence[Mapping[str, Any]], blocks: Sequence[str]) -> None:
    """Check that every procedure trained every block in every step.

    Args:
        measurements: The measurements of all ranks; only the kind `procedure` counts.
        blocks: The names of the blocks that have a replacement.

    Raises:
        BenchError: A block missed steps, or took too many.
    """
    taken: dict[tuple[str, int, int], dict[str, set[int]]] = {}
    for each in measurements:
        if each["kind"] == "procedure":
            key = each["name"], each["round"], each["steps"]
            by_block = taken.setdefault(key, {name: set() for name in blocks})
            for name, steps in each["steps_taken"].items():
                by_block[name].add(steps)
    for (procedure, round_, steps), by_block in taken.items():
        for name, counts in by_block.items():
            if counts != {steps}:
                found = " and ".join(map(str, sorted(counts))) or "0"
                raise BenchError(
                    f"'{procedure}' trained the block '{name}' for {found} of {steps} steps in"
                    f" round {round_}: the figures do not measure what they say."
                )


def check_predictions(procedures: Sequence[ProcedureResult]) -> None:
    """Check that the cost model predicts what was measured.

    Raises:
        BenchError: The predicted seconds of a procedure differ by more than `TOLERANCE`.
    """
    if wrong := list(_differences(procedures)):
        raise BenchError(
            f"predicted and measured seconds differ by more than {TOLERANCE:.0%}:"
            f" {', '.join(wrong)}; repeat the benchmark on an idle machine, with more rounds."
        )


def _differences(procedures: Sequence[ProcedureResult]) -> Iterator[str]:
    for procedure in procedures:
        predicted, measured = procedure.predicted_seconds, procedure.seconds.median
        if predicted is not None and abs(predicted / measured - 1) > TOLERANCE:
            yield f"{procedure.name} {predicted:.3f} predicted, {measured:.3f} measured"
