"""`pbkd zoo` without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry

from tests.command_line import Pbkd


def test_the_zoo_is_listed(pbkd: Pbkd, registry: Registry) -> None:
    head, *rows = pbkd("zoo", "list").out.splitlines()
    assert head.split()[:5] == ["model", "kind", "data", "accuracy", "parameters"]
    models = registry.strategies["model"]
    listed = [row.split()[0].removesuffix(":NAME") for row in rows]
    assert listed[: len(models)] == list(models)
    (row,) = (row for row in rows if row.startswith("digits-vgg "))
    assert row.rstrip().endswith("1.16 MB  Apache-2.0  pbkd zoo train digits-vgg")


def test_the_variants_of_a_family_are_listed(pbkd: Pbkd) -> None:
    lines = pbkd("zoo", "list", "torchvision").out.splitlines()
    assert "torchvision:resnet18" in lines
    assert all(line.startswith("torchvision:") for line in lines)


def test_a_model_is_shown_with_its_card(pbkd: Pbkd) -> None:
    lines = pbkd("zoo", "show", "digits-vgg").out.splitlines()
    assert lines[0].startswith("digits-vgg: teacher for 8x8 handwritten digits")
    assert "parameters: 288,618" in lines
    assert any(line.startswith("  sha256: ") for line in lines)


def test_the_plan_of_a_recipe_trains_nothing(pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbkd.pipeline.train_blocks.distill_teacher_fed", None)
    ended = pbkd("zoo", "compress", "digits-vgg", "--plan", "threads=1", "keep=[stem*, conv1*]")
    assert (ended.code, ended.err) == (0, "")
    assert "\nconv2_1 " in ended.out
    assert list(Path.cwd().iterdir()) == []
