"""Exports of a run's student, measured beside the float student's and the teacher's own export."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from pbkd.config.options import choice_options, named_choice
from pbkd.core.results import ExportResult
from pbkd.data.batching import sequential_images
from pbkd.errors import PbkdError
from pbkd.models.export import create_exporter, export, export_name
from pbkd.models.export_comparison import predicted_classes
from pbkd.models.export_images import draw_export_images
from pbkd.models.export_subject import as_pixels, float_format
from pbkd.models.latency import latencies
from pbkd.models.student_input import attach_preparation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from pbkd.models.export import Exported
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Exporter
    from pbkd.training.task import DistillationTask


__all__ = ["FinishedNetworks", "export_all", "export_beside"]

_SCORED_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class FinishedNetworks:
    """A run's teacher and student, and what is known of them.

    Attributes:
        task: Teacher and data.
        student: The finished student.
        scores: The test scores of `teacher` and `student`; None if unknown.
        seed: The run's seed.
        registry: The plugins.
        with_preparation: Whether the exported networks take uint8 pixels.
    """

    task: DistillationTask
    student: nn.Module
    scores: dict[str, float | None]
    seed: int
    registry: Registry
    with_preparation: bool = False

    def input_of(self, images: Tensor) -> Tensor:
        """Turn normalised images into the input of the exported networks, on the CPU."""
        held = images.cpu().contiguous()
        return as_pixels(held, self.task.preparation) if self.with_preparation else held


def export_all(
    networks: FinishedNetworks, choices: Sequence[Any], folder: Path
) -> tuple[tuple[ExportResult, ...], list[str]]:
    """Export a student in several formats.

    Args:
        networks: The networks.
        choices: The formats: names, or mappings of a name and options.
        folder: Where to write the files.

    Returns:
        The exports, the teacher first; and remarks, among them why one failed.
    """
    found: dict[tuple[str, str], ExportResult] = {}
    notes = []
    for choice in map(named_choice, choices):
        exporter = create_exporter(networks.registry, choice["name"], choice_options(choice))
        out = folder / export_name(exporter, networks.task.teacher.name)
        try:
            done, results = export_beside(networks, exporter, out)
        except PbkdError as error:
            notes.append(f"The student was not exported as {exporter.name}: {error}")
            continue
        notes += [done.note] if done.note else []
        for one in results:  # a file that is kept takes the place of one for the comparison
            if one.file or (one.network, one.format) not in found:
                found[one.network, one.format] = one
    return tuple(sorted(found.values(), key=lambda one: one.network != "teacher")), notes


def export_beside(
    networks: FinishedNetworks, exporter: Exporter, out: Path
) -> tuple[Exported, list[ExportResult]]:
    """Export a student, and measure the file beside exports of float student and teacher.

    Args:
        networks: The networks.
        exporter: The exporter of the format. If it has a `float_format`, the float student is
            exported in it, too, for the comparison.
        out: The file.

    Returns:
        What was written; and the figures of the teacher, of the float student, and of the file.

    Raises:
        ExportError: As of `export`.
    """
    task = networks.task
    teacher = attach_preparation(copy.deepcopy(task.teacher.network), task.preparation)
    plain = float_format(exporter)
    reference = create_exporter(networks.registry, plain, {}) if plain else exporter
    write = partial(export, with_preparation=networks.with_preparation)
    with TemporaryDirectory() as folder:
        exports = {("teacher", reference.name): write(teacher, reference, Path(folder, "teacher"))}
        if plain:
            beside = write(networks.student, reference, Path(folder, "student"))
            exports["student", reference.name] = beside
        normalization = task.teacher.normalization
        images = draw_export_images(task.data, normalization, networks.seed) if plain else None
        done = write(networks.student, exporter, out, images=images)
        exports["student", exporter.name] = done
        return done, _measured(networks, exports, done)


def _measured(
    networks: FinishedNetworks, exports: dict[tuple[str, str], Exported], kept: Exported
) -> list[ExportResult]:
    names = {" ".join(key): exported.execute for key, exported in exports.items()}
    batch = networks.input_of(networks.task.images)
    timed = [latencies(names, images) for images in (batch[:1], batch)]
    return [
        ExportResult(
            network=network,
            format=kind,
            file=exported.path.name if exported is kept else None,
            bytes=exported.bytes,
            score=_score(networks, network, exported),
            latencies=tuple(replace(one[f"{network} {kind}"], engine=kind) for one in timed),
            threads=torch.get_num_threads(),
        )
        for (network, kind), exported in exports.items()
    ]


def _score(networks: FinishedNetworks, network: str, exported: Exported) -> float | None:
    """Score a file on the test split, unless it has the outputs of the network."""
    if exported.likeness.agreement is None:
        return networks.scores[network]
    test, normalization = networks.task.data.test, networks.task.teacher.normalization
    batches = sequential_images(test, _SCORED_AT_ONCE)
    classes = [
        predicted_classes(exported.execute, networks.input_of(normalization.apply(images, "cpu")))
        for images in batches
    ]
    return float((torch.cat(classes) == test.labels).double().mean())
