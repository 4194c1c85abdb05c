"""From trained replacements to a scored student: everything after the teacher-fed phase."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbkd.blockwise import distil_student_fed
from pbkd.changes import find_changes, write_changes
from pbkd.fit import Recipe, fit
from pbkd.measure import accuracy, answers, latencies, macs, parameters, weight_bytes
from pbkd.pace import begin_job
from pbkd.plan import candidate_of
from pbkd.progress import shelf
from pbkd.replacement import read_replacement
from pbkd.result import BlockResult, NetworkResult, block_result, failure_notes
from pbkd.selection import select
from pbkd.student import assemble, recalibrate, save

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.data import Split
    from pbkd.journal import Event
    from pbkd.pace import Pace
    from pbkd.phases import PhaseClock
    from pbkd.planning import Prospect
    from pbkd.registry import Registry

    Tell = Callable[[Event], None]

__all__ = ["Outcome", "finish"]


@dataclass(frozen=True)
class Outcome:
    """What the phases after the blockwise one found.

    `test` and `validation` are the student's scores on these splits, by stage: accuracies, or, on
    data without labels, agreement with the teacher.
    """

    teacher: NetworkResult
    student: NetworkResult
    test: dict[str, float | None]
    validation: dict[str, float | None]
    blocks: tuple[BlockResult, ...]
    candidates: tuple[BlockResult, ...]
    notes: tuple[str, ...]


def finish(
    prospect: Prospect,
    registry: Registry,
    trained: Mapping[str, BlockResult],
    folder: Path,
    clock: PhaseClock,
    tell: Tell,
) -> Outcome:
    """Accept or keep, train student-fed, assemble, recalibrate, fine-tune, save, evaluate."""
    notes: list[str] = []
    with clock.phase("scoring"):
        sound = {name: r for name, r in prospect.replacements.items() if trained[name].replaced}
        replacements = _read(prospect, folder / "teacher-fed", sound)
        blocks = select(prospect, trained, replacements, folder, tell, notes)
        notes += failure_notes(blocks.values())
        accepted = {name: r for name, r in replacements.items() if blocks[name].replaced}
    with clock.phase("student-fed"):
        if prospect.config.distill.student_fed_epochs and accepted:
            fed = {name: blocks[name] for name in accepted}
            events = distil_student_fed(prospect, registry, folder, fed, tell)
            blocks |= _student_fed(prospect, folder, accepted, blocks, events, notes)
    by_block = {candidate_of(name)[0]: replacement for name, replacement in accepted.items()}
    student = assemble(prospect.prepared.chain, by_block)
    stages: dict[str, dict[str, Tensor] | None] = {"assembled": _state(student)}
    with clock.phase("recalibration"):
        stages["recalibrated"] = _recalibrate(prospect, student, notes) if accepted else None
    with clock.phase("fine-tuning"):
        fine_tuned = _fine_tune(prospect, student, folder, notes, tell) if accepted else None
        stages["fine-tuned"] = fine_tuned
    if not accepted:
        notes.append("No replacement was accepted: nothing was recalibrated or fine-tuned.")
    builders = {candidate_of(name)[0]: blocks[name].builder for name in accepted}
    save(folder, student, prospect.config, prospect.prepared, builders)
    with clock.phase("evaluation"):
        data = prospect.prepared.data
        test, validation = (
            _evaluate(prospect, student, stages, split) for split in (data.test, data.validation)
        )
        given = _answers(prospect, student)
        write_changes(folder, find_changes(data.test, **given, labelled=data.labelled))
        teacher_result, student_result = _networks(prospect, student, given)
    several = len(prospect.plan.blocks) > len({p.block.name for p in prospect.plan.blocks})
    return Outcome(
        teacher_result,
        student_result,
        test,
        validation,
        _all_blocks(prospect, blocks),
        tuple(blocks.values()) if several else (),
        tuple(notes),
    )


def _student_fed(
    prospect: Prospect,
    folder: Path,
    accepted: Mapping[str, nn.Module],
    blocks: Mapping[str, BlockResult],
    events: Mapping[str, Event],
    notes: list[str],
) -> dict[str, BlockResult]:
    """Fill in the weights of the student-fed phase; a block that failed in it keeps its own."""
    sound = [name for name, event in events.items() if event["failure"] is None]
    _read(prospect, folder / "student-fed", {name: accepted[name] for name in sound})
    notes += [
        f"Block '{name}' keeps its teacher-fed weights: in the student-fed phase"
        f" {event['failure']}."
        for name, event in events.items()
        if event["failure"]
    ]
    return {
        name: replace(blocks[name], student_fed_losses=tuple(events[name]["losses"]))
        for name in sound
    }


def _read(
    prospect: Prospect, folder: Path, replacements: Mapping[str, nn.Module]
) -> dict[str, nn.Module]:
    """Fill replacements with the weights that a phase left in `folder`."""
    device = prospect.prepared.device
    return {
        name: read_replacement(folder, replacement, name).to(device)
        for name, replacement in replacements.items()
    }


def _recalibrate(
    prospect: Prospect, student: nn.Module, notes: list[str]
) -> dict[str, Tensor] | None:
    """Recalibrate BatchNorm, kept only where the validation split gains; return that state."""
    count = prospect.config.recalibrate_batches
    if not count:
        notes.append("Recalibration was not asked for.")
        return None
    before, state = _validation(prospect, student), _state(student)
    recalibrate(student, prospect.prepared, count, prospect.config.batch_size)
    after, recalibrated = _validation(prospect, student), _state(student)
    kept = after > before
    if not kept:
        student.load_state_dict(state)
    notes.append(
        f"Recalibration took validation {prospect.prepared.data.score} from {100 * before:.2f} to"
        f" {100 * after:.2f} % and was {'kept' if kept else 'not kept'}."
    )
    return recalibrated


def _fine_tune(
    prospect: Prospect, student: nn.Module, folder: Path, notes: list[str], tell: Tell
) -> dict[str, Tensor] | None:
    config, prepared = prospect.config, prospect.prepared
    if not config.finetune.epochs:
        notes.append("Fine-tuning was not asked for.")
        return None
    before = _validation(prospect, student)
    recipe = Recipe(
        epochs=config.finetune.epochs,
        lr=config.finetune.lr,
        weight_decay=config.finetune.weight_decay,
        batch_size=config.batch_size,
        seed=config.seed,
        temperature=config.finetune.temperature,
        soft_weight=config.finetune.soft_weight if prepared.data.labelled else 1.0,
        optimiser=config.finetune.optimiser,
    )

    def told(event: str, **facts: object) -> None:
        tell({"event": event, "worker": None, **facts})

    def paced(begun: int, steps: int) -> Pace:
        images = min(recipe.batch_size, len(prepared.data.train))
        sizes = {"epochs": recipe.epochs, "steps": steps, "images": images}
        return begin_job(told, "fine-tuning", ["student"], begun=begun, **sizes)

    after = fit(
        student,
        prepared.data,
        recipe,
        mean=prepared.teacher.mean,
        std=prepared.teacher.std,
        teacher=prepared.feeding,
        dtype=prepared.dtype,
        epoch_finished=lambda epoch, loss, score: told(
            "fine-tuning epoch", epoch=epoch + 1, loss=loss, accuracy=score
        ),
        keep=shelf(folder, "fine-tuning", "student", writer="host"),
        paced=paced,
    )
    notes.append(
        f"Fine-tuning took validation {prepared.data.score} from {100 * before:.2f} to"
        f" {100 * after:.2f} %."
    )
    return _state(student)


def _evaluate(
    prospect: Prospect,
    student: nn.Module,
    stages: Mapping[str, dict[str, Tensor] | None],
    split: Split,
) -> dict[str, float | None]:
    """Score each stage of the student on a split; leave it as it was."""
    final = _state(student)
    scores: dict[str, float | None] = {}
    for stage, state in stages.items():
        scores[stage] = None
        if state is not None:
            student.load_state_dict(state)
            scores[stage] = _accuracy(prospect, student, split)
    student.load_state_dict(final)
    return scores


def _answers(prospect: Prospect, student: nn.Module) -> dict[str, Tensor]:
    """Return the classes that teacher and student give the test images.

    Those of the teacher are the labels where the data have none of their own.
    """
    prepared, data = prospect.prepared, prospect.prepared.data
    mean, std = prepared.teacher.mean, prepared.teacher.std
    networks = {"student": student}
    if data.labelled:
        networks["teacher"] = prepared.teacher.network
    found = {
        role: answers(network, data.test, mean=mean, std=std, device=prepared.device)
        for role, network in networks.items()
    }
    return {"teacher": data.test.labels, **found}


def _networks(
    prospect: Prospect, student: nn.Module, given: Mapping[str, Tensor]
) -> tuple[NetworkResult, NetworkResult]:
    """Measure teacher and student, their latencies in turn: of one image, and of a batch."""
    prepared = prospect.prepared
    networks = {"teacher": prepared.teacher.network, "student": student}
    batches = sorted({1, len(prepared.images)})
    timed = [latencies(networks, prepared.images[:batch]) for batch in batches]
    teacher, student_ = (
        NetworkResult(
            name=prepared.teacher.name if role == "teacher" else f"{prepared.teacher.name} student",
            **_scored(prospect, role, given),
            network=network if role == "student" else None,
            parameters=parameters(network),
            macs=macs(network, prepared.data.image_shape),
            latencies=tuple(by_role[role] for by_role in timed),
            weight_bytes=weight_bytes(network),
        )
        for role, network in networks.items()
    )
    return teacher, student_


def _scored(prospect: Prospect, role: str, given: Mapping[str, Tensor]) -> dict[str, float | None]:
    """Return the accuracy, or, where there are no labels, the student's agreement."""
    data = prospect.prepared.data
    score = int((given[role] == data.test.labels).sum()) / len(data.test)
    if data.labelled:
        return {"accuracy": score}
    return {"accuracy": None, "agreement": score if role == "student" else None}


def _all_blocks(prospect: Prospect, blocks: Mapping[str, BlockResult]) -> tuple[BlockResult, ...]:
    """Return every block's result in chain order, those that had no replacement included.

    It is that of the candidate which the block got; of the first where it got none.
    """
    found: dict[str, BlockResult] = {}
    for planned in prospect.plan.blocks:
        own = blocks.get(planned.name) or block_result(planned)
        name = planned.block.name
        if name not in found or own.replaced:
            found[name] = replace(own, name=name)
    return tuple(found.values())


def _accuracy(prospect: Prospect, network: nn.Module, split: Split) -> float:
    teacher = prospect.prepared.teacher
    device = prospect.prepared.device
    return accuracy(network, split, mean=teacher.mean, std=teacher.std, device=device)


def _validation(prospect: Prospect, network: nn.Module) -> float:
    return _accuracy(prospect, network, prospect.prepared.data.validation)


def _state(network: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(network.state_dict())
