"""The first guess: which few candidates of each block are worth training under a target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_name
from pbkd.models.proposal import without_replacement
from pbkd.pipeline.choice import choose, time_candidates, timed_blocks
from pbkd.pipeline.proposals import planned_block
from pbkd.planning.limits import block_limits, block_options
from pbkd.planning.option_selection import with_neighbours
from pbkd.planning.plan import Candidates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.config.schema import TargetConfig
    from pbkd.models.proposal import Proposal
    from pbkd.pipeline.choice import ChoiceTools
    from pbkd.planning.plan import Plan
    from pbkd.training.task import DistillationTask


__all__ = ["Guess", "guess", "with_seconds"]


_DEAR = "no candidate costs less than the segment, in what the target limits"


@dataclass(frozen=True)
class Guess:
    """The candidates that are worth training.

    Attributes:
        proposals: Their proposals by new names, in the order of the chain.
        timed: The same with the seconds of their forward passes, if the target limits latency; None
            if nothing was measured.
        notes: What was left out, a sentence.
    """

    proposals: Mapping[str, Proposal]
    timed: Candidates | None = None
    notes: tuple[str, ...] = ()


def guess(
    targets: Sequence[TargetConfig],
    task: DistillationTask,
    proposals: Mapping[str, Proposal],
    tools: ChoiceTools,
) -> Guess:
    """Keep of each block the candidate that is expected to be chosen, and its neighbours.

    The candidates of least total error within the limits are chosen, as they will be once they are
    trained, but by the error that is expected of each (`Proposal.error`). Kept are these, and of
    the cheaper and the dearer candidates of the block, leaving out those that others outdo in both
    cost and error, the nearest.

    Args:
        targets: The targets, each of which limits the cost.
        task: Teacher and chain.
        proposals: All candidates, with their errors.
        tools: What selects, and where latency counts.

    Returns:
        The candidates that are kept for any of the targets.

    Raises:
        PbkdError: The selector is broken, or the engine cannot execute a network.
    """
    replacements = {name: p.replacement for name, p in proposals.items() if p.replacement}
    if not replacements:
        return Guess(proposals)
    planned = tuple(planned_block(name, p) for name, p in proposals.items())
    harms = {name: p.error or 0.0 for name, p in proposals.items() if p.replacement}
    pool = Candidates(blocks=planned)
    kept: set[str] = set()
    for target in targets:
        pool = time_candidates(pool, task, replacements, target)
        choice = choose(target, task, pool, replacements, harms, tools)
        limits = block_limits(target, task, replace(pool, latency=choice.latency))
        for block, options in block_options(pool, harms).items():
            kept |= with_neighbours(choice.names[block], options, limits)
    return _only(pool, proposals, kept)


def with_seconds(plan: Plan, timed: Candidates | None) -> Plan:
    """Add the seconds of forward passes that the guess has measured to a plan of its candidates."""
    if timed is None:
        return plan
    seconds = {p.name: (p.seconds_before, p.seconds_after) for p in timed.blocks}
    blocks = timed_blocks(plan.blocks, seconds)
    return replace(plan, blocks=blocks, other_seconds=timed.other_seconds, latency=timed.latency)


def _only(pool: Candidates, proposals: Mapping[str, Proposal], kept: set[str]) -> Guess:
    """Keep candidates, and the blocks without any, and name them anew."""
    blocks, renamed = [], {}
    for block, of_block in groupby(pool.blocks, key=lambda p: p.block.name):
        first, *others = of_block
        left = [p for p in (first, *others) if p.name in kept]
        for index, p in enumerate(left or [replace(first, reason=first.reason or _DEAR)]):
            name, proposal = candidate_name(block, index), proposals[p.name]
            renamed[name] = proposal if left else without_replacement(proposal, str(p.reason))
            blocks.append(replace(p, name=name))
    count = len(pool.trained)
    note = (
        f"Of {count} candidates that fit, {len(kept)} are trained: in each block the one that is"
        " expected to be chosen, and the next smaller and larger."
    )
    return Guess(renamed, replace(pool, blocks=tuple(blocks)), (note,))
