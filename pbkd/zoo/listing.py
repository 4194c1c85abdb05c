"""A table of the zoo: registered models, and students in zoo folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pbkd.errors import TeacherError, ZooError
from pbkd.models.metrics import parameters
from pbkd.models.teacher import build_network
from pbkd.zoo.card import Card, read_card
from pbkd.zoo.store import students

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.plugin.registry import Registry
    from pbkd.protocols import ZooModel
    from pbkd.zoo.store import Entry


__all__ = ["HEADS", "Row", "catalogue", "cells", "data_label"]

HEADS = (
    "model", "kind", "data", "accuracy", "parameters", "MACs", "size", "licence", "how made",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A model or a student.

    Attributes:
        name: Its name.
        kind: `family`, `architecture`, `teacher` or `student`.
        card: Its card; empty if it has none.
        weights: Its weights file, if any.
        fault: Why its card or weights are unusable.
    """

    name: str
    kind: str
    card: Card
    weights: Path | None = None
    fault: str | None = None


def catalogue(registry: Registry) -> list[Row]:
    """Return a row for every registered model, then for every student."""
    models = [_model_row(registry, model) for model in registry.strategies["model"].values()]
    return [*models, *map(_student_row, students())]


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text: test accuracy in %, size in MB, unknown figures empty."""
    card = row.card
    exists = row.weights is not None and row.weights.is_file()
    return (
        row.name,
        row.kind,
        data_label(card.data),
        "" if card.test is None else f"{100 * card.test:.2f} %",
        "" if card.parameters is None else f"{card.parameters:,}",
        "" if card.macs is None else f"{card.macs:,}",
        f"{row.weights.stat().st_size / 1e6:.2f} MB" if row.weights and exists else "",
        card.licence or "",
        f"damaged: {row.fault}" if row.fault else card.command or "",
    )


def data_label(data: Mapping[str, Any] | None) -> str:
    """Return the name of a data configuration, and the name of its file if it has one."""
    if not data:
        return ""
    return f"{data['name']} {Path(str(data['path'])).name}" if data.get("path") else data["name"]


def _model_row(registry: Registry, model: ZooModel) -> Row:
    if model.variants:
        return Row(f"{model.name}:NAME", "family", Card())
    if not model.weights:
        return Row(model.name, "architecture", Card(parameters=_parameters(registry, model)))
    if not model.card:
        return Row(model.name, "teacher", Card(), model.weights)
    try:
        fault = None if model.weights.is_file() else f"there is no '{model.weights}'."
        return Row(model.name, "teacher", read_card(model.card), model.weights, fault)
    except ZooError as error:
        return Row(model.name, "teacher", Card(), model.weights, str(error))


def _student_row(entry: Entry) -> Row:
    return Row(entry.name, "student", entry.card or Card(), entry.weights, entry.fault)


def _parameters(registry: Registry, model: ZooModel) -> int | None:
    """Count parameters on the meta device; None if the network cannot be built there."""
    try:
        with torch.device("meta"):
            return parameters(build_network(registry, {"name": model.name}))
    except TeacherError:
        return None
