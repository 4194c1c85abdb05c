"""`pbkd cut`, on networks that can be cut and on one that cannot."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pbkd.cli import app
from pbkd.errors import ConfigError, UnknownNameError


def pbkd(*arguments: str) -> str:
    ended = CliRunner().invoke(app, ["cut", *arguments])
    if ended.exception:
        raise ended.exception
    return ended.output


def test_networks_are_tried_and_tabled(tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    options = ("--size", "32", "--markdown", str(table))
    out = pbkd("resnet20", "timm:lcnet_035", "timm:vit_tiny_patch16_224", *options)
    head, *rows, reason, verdict = out.splitlines()
    assert re.split(" {2,}", head.strip()) == [
        "network", "cut by", "blocks", "replaced", "MACs", "of the teacher's",
    ]  # fmt: skip
    assert rows[0].split()[:4] == ["resnet20", "resnet", "9", "9"]
    assert 0.2 < float(rows[0].split()[5]) < 0.24
    assert rows[1].rstrip().endswith("nothing to replace")
    assert rows[2].split() == ["timm:vit_tiny_patch16_224", "cannot", "be", "cut"]
    assert reason == (
        "timm:vit_tiny_patch16_224: it cannot process images of 3 x 32 x 32 (AssertionError: Input"
        " height (32) doesn't match model (224)): choose their height and width with --size."
    )
    assert verdict == "2 of 3 networks can be cut"
    first, rule, *written = table.read_text().splitlines()
    assert first.startswith("| network | cut by | blocks | replaced | MACs |")
    assert set(rule) <= set("| -")
    assert len(written) == 3
    assert written[0].startswith("| resnet20 | resnet | 9 | 9 | 40,551,040 | 0.23 |")


def test_keys_of_a_run_change_what_is_built() -> None:
    paper = pbkd("resnet20", "builder=separable", "partitioner.granularity=stage", "--size", "32")
    assert paper.splitlines()[1].split()[:6] == [
        "resnet20", "resnet", "3", "3", "40,551,040", "0.16",
    ]  # fmt: skip


def test_images_have_the_shape_that_a_network_is_made_for() -> None:
    _, row, verdict = pbkd("digits-vgg").splitlines()
    assert row.split() == ["digits-vgg", "vgg", "6", "5", "2,379,008", "0.24"]
    assert verdict == "1 of 1 networks can be cut"


def test_mistakes_are_told() -> None:
    with pytest.raises(UnknownNameError, match=r"no network of timm matches 'nothing\*'"):
        pbkd("timm:nothing*")
    with pytest.raises(UnknownNameError, match="unknown meter 'volt'"):
        pbkd("resnet20", "meters=[volt]")
    with pytest.raises(ConfigError, match="unknown key 'bilder'"):
        pbkd("resnet20", "bilder=separable")
