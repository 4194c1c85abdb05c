"""A run loads its student before it says that it is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from pbkd import load, transform
from pbkd.errors import PluginError
from pbkd.models.chain import describe_blocks
from pbkd.models.rebuilding import check_rebuilding
from pbkd.models.replacement import build_replacement
from pbkd.models.student import assemble
from pbkd.models.student_files import RECIPE, Recipe, write_student
from pbkd.pipeline.loading_check import check_loading
from pbkd.plugin.registry import build_registry
from tests.command_line import ONE_BLOCK, Pbkd

if TYPE_CHECKING:
    from pbkd.training.task import DistillationTask

PLUGIN = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
import pbkd
from pbkd_low_rank import LowRankBuilder

print("a plugin may print")
CHOSEN = {}

@dataclass(frozen=True)
class Active:
    "Chooses its share by the block's inputs."
    name: ClassVar[str] = "active"
    share: float = 0.0
    factor: float = 1.0

    def build(self, segment, block, calibration=None):
        if calibration is None and not self.share:
            raise ValueError("neither share nor calibration")
        share = self.share or self.factor * (0.2 + 0.2 * float((calibration > 0).float().mean()))
        return pbkd.Built(LowRankBuilder(share).build(segment, block), {"share": share})

@dataclass(frozen=True)
class Remembers:
    "Remembers its choice for as long as the process lives."
    name: ClassVar[str] = "remembers"

    def build(self, segment, block):
        share = CHOSEN.setdefault(block.name, 0.2 + float(next(segment.parameters()).std()))
        return LowRankBuilder(share).build(segment, block)

@pbkd.hookimpl
def register_builders():
    return [Active, Remembers]
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "chooses.py"
    path.write_text(PLUGIN)
    return path


def test_what_a_builder_chose_rebuilds_its_student_everywhere(pbkd: Pbkd, plugin: Path) -> None:
    ended = pbkd(
        "run", "--plugin", plugin, *ONE_BLOCK, "finetune.epochs=0", "out=runs",
        "target.block_drop=100",
        "builder=active", "candidates=[{name: active, factor: 0.6}]", "target.macs=0.9", "--quiet",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    run = Path(ended.out.splitlines()[-1])
    first, second = json.loads((run / "result.json").read_text())["candidates"]
    assert 0.1 < second["builder"]["share"] < first["builder"]["share"] < 0.4
    recipe = json.loads((run / "student" / RECIPE).read_text())
    (chosen,) = recipe["replaced"].values()
    assert chosen in (first["builder"], second["builder"])
    student = load(run, plugins=[str(plugin)])
    assert transform(run) is not None
    added = pbkd("zoo", "add", run, "--name", "chosen", "--to", "zoo")
    assert added.code == 0, added.err
    kept, images = load("zoo/chosen", plugins=[str(plugin)]), torch.randn(3, 1, 8, 8)
    assert torch.equal(kept(images), student(images))
    assert pbkd("export", run, "--format", "safetensors", "--out", "mine").code == 0


@pytest.mark.slow
def test_what_only_this_process_knows_is_found_out(
    plugin: Path, tmp_path: Path, digits: DistillationTask
) -> None:
    registry = build_registry([str(plugin)])
    builder = registry.create("builder", {"name": "remembers"})
    (block,) = describe_blocks(digits.chain, digits.images[:1], ["conv3_2"])
    built = build_replacement(builder, digits.chain[block.position], block, 0)
    assert built is not None
    check_rebuilding(built.module, builder, digits.chain[block.position], block)
    student = assemble(digits.chain, {"conv3_2": built.module})
    recipe = Recipe(
        teacher={"name": "digits-vgg"},
        partitioner=dict(digits.partitioner),
        replaced={"conv3_2": {"name": "remembers"}},
        preparation=digits.preparation,
    )
    write_student(tmp_path / "run" / "student", student, recipe, [str(plugin)])
    assert load(tmp_path / "run", plugins=[str(plugin)]) is not None  # this process remembers
    told = (
        r"the student in '.*student' cannot be loaded \('.*model.safetensors' does not fit the"
        r" network; .*\): if it is due to the builder 'remembers' of the plugin 'chooses.py',"
        r" return pbkd.Built"
    )
    with pytest.raises(PluginError, match=told):
        check_loading(
            registry,
            tmp_path / "run" / "student",
            student,
            plugins=[str(plugin)],
            teacher=recipe.teacher,
        )
