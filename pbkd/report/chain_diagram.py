"""The chain as a picture with a box per block, and a detail card per block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.config.options import choice_text
from pbkd.report.card import solo_text
from pbkd.report.charts import curves, picture
from pbkd.report.markup import element
from pbkd.report.numbers import duration, short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.core.results import BlockResult
    from pbkd.report.markup import Markup


__all__ = ["chain_picture", "details"]

# Sizes of a box in pixels.
_SIZE, _BOX, _BAR = (156, 112), 134, 110
_LETTERS = 17


def chain_picture(blocks: Sequence[BlockResult]) -> Markup:
    """Return a box per block in chain order; the boxes wrap into lines."""
    most = max((max(b.macs_before, b.macs_after) for b in blocks), default=0)
    boxes = (_box(index, block, most) for index, block in enumerate(blocks))
    return element("div", *boxes, class_="chain")


def details(
    blocks: Sequence[BlockResult],
    candidates: Sequence[BlockResult],
    step_seconds: Mapping[str, float],
) -> Markup:
    """Return a detail card per block.

    Args:
        blocks: The results of the blocks, in chain order.
        candidates: The results of all candidates, if blocks had several.
        step_seconds: Planned seconds of a training step, by block.
    """
    cards = (
        _card(index, block, [c for c in candidates if _is_of(c, block)], step_seconds)
        for index, block in enumerate(blocks)
    )
    return element("div", *cards, class_="cards")


def _is_of(candidate: BlockResult, block: BlockResult) -> bool:
    return candidate.name.partition(".")[0] == block.name


def _box(index: int, block: BlockResult, most: int) -> Markup:
    """Return a box with an arrow to the next, linked to the block's card."""
    state = "replaced" if block.replaced else "kept"
    bars = [("teacher", block.macs_before)]
    if block.replaced:
        bars.append(("student", block.macs_after))
    drawn = picture(
        _SIZE,
        f"{block.name}, {state}: {_shape(block.input_shape)} to {_shape(block.output_shape)}",
        element("rect", class_=f"box {state}", x=1, y=1, width=_BOX, height=_SIZE[1] - 2, rx=8),
        element("text", _clipped(block.name), class_="name", x=12, y=22),
        element("text", f"{_shape(block.output_shape)} out", class_="tick", x=12, y=40),
        *(_bar(role, macs, most, 50 + 28 * row) for row, (role, macs) in enumerate(bars)),
        *([] if block.replaced else [element("text", "kept", class_="tick", x=12, y=98)]),
        element("path", class_="arrow", d=f"M{_BOX + 3} 56H{_BOX + 17}m-5 -5l5 5l-5 5"),
        class_="segment",
    )
    return element("a", drawn, href=f"#block-{index}")


def _bar(role: str, macs: int, most: int, y: int) -> Markup:
    width = _BAR * macs / most if most else 0.0
    return element(
        "g",
        element("text", f"{role} {short(macs)}", class_="tick", x=12, y=y + 10),
        element("rect", class_=f"bar {role}", x=12, y=y + 14, width=f"{width:.1f}", height=7, rx=2),
    )


def _card(
    index: int,
    block: BlockResult,
    candidates: Sequence[BlockResult],
    step_seconds: Mapping[str, float],
) -> Markup:
    facts = [
        ("shapes", f"{_shape(block.input_shape)} to {_shape(block.output_shape)}"),
        ("replacement", choice_text(block.builder) or "not recorded"),
        ("parameters", _change(block.parameters_before, block.parameters_after)),
        ("MACs", _change(block.macs_before, block.macs_after)),
        ("cost", _cost(block, step_seconds)),
        ("alone", _harm(block)),
        ("outcome", _outcome(block)),
        *([("trained twice", block.first_failure)] if block.first_failure else []),
        *((f"candidate {c.name}", _candidate(c)) for c in candidates if len(candidates) > 1),
    ]
    listed = (element("div", element("dt", name), element("dd", said)) for name, said in facts)
    losses = {"teacher-fed": block.teacher_fed_losses, "student-fed": block.student_fed_losses}
    return element(
        "article",
        element("h3", block.name),
        element("dl", *listed),
        curves(f"loss of {block.name}", losses, "loss by epoch,")
        if any(losses.values())
        else element("p", f"No loss curve: {_no_losses(block)}.", class_="why"),
        id=f"block-{index}",
        class_="replaced" if block.replaced else "kept",
    )


def _no_losses(block: BlockResult) -> str:
    trained = block.job_seconds is not None
    return "no epoch had a finite loss" if trained else "the block was not trained"


def _change(before: int, after: int) -> str:
    return f"{before:,} to {after:,}"


def _cost(block: BlockResult, step_seconds: Mapping[str, float]) -> str:
    """Describe the measured seconds of a training step and of the block's job."""
    planned = step_seconds.get(block.name)
    step = (
        "a step: not recorded" if planned is None else f"{1000 * planned:.2f} ms a step, measured"
    )
    if block.job_seconds is None:
        return f"{step}; not trained"
    return f"{step}; its job took {duration(block.job_seconds)} on worker {block.worker}"


def _harm(block: BlockResult) -> str:
    if block.solo_drop is None:
        return "not scored: the block has no trained replacement"
    said = solo_text(block)
    if block.solo_divergence is None:
        return said
    return f"{said}; KL divergence {block.solo_divergence:.4f} nats"


def _outcome(block: BlockResult) -> str:
    return "accepted" if block.replaced else f"the teacher's is kept: {block.reason}"


def _candidate(candidate: BlockResult) -> str:
    outcome = "taken" if candidate.replaced else f"not taken: {candidate.reason}"
    return f"{choice_text(candidate.builder)}; {_harm(candidate)}; {outcome}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _clipped(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
