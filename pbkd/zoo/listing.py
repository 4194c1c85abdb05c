"""Everything in the zoo as rows of one table: the registered models, and students in folders."""

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
    """A line of the list. `weights` is the file of weights, `fault` why its card is of no use."""

    name: str
    kind: str
    card: Card
    weights: Path | None = None
    fault: str | None = None


def catalogue(registry: Registry) -> list[Row]:
    """Return a row for every registered model and then every student."""
    models = [_model_row(registry, model) for model in registry.strategies["model"].values()]
    return [*models, *map(_student_row, students())]


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text: test accuracy in per cent, size in megabytes; unknown is empty."""
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
    """Return a data choice in short: its name, with the file's name where there is one."""
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
    """Count a network's parameters without memory for them; None where it cannot be built so."""
    try:
        with torch.device("meta"):
            return parameters(build_network(registry, {"name": model.name}))
    except TeacherError:
        return None
