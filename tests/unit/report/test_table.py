from __future__ import annotations

import csv
import io
from dataclasses import fields, replace

from pbkd.core.results import BlockResult
from pbkd.report.blocks_csv import blocks_csv

TRAINED = BlockResult(
    name="conv1",
    input_shape=(1, 8, 8),
    output_shape=(32, 8, 8),
    parameters_before=384,
    parameters_after=137,
    macs_before=18432,
    macs_after=2624,
    replaced=True,
    reason=None,
    worker=0,
    job_seconds=1.5,
    teacher_fed_losses=(0.5, 0.25),
    student_fed_losses=(0.125,),
    solo_drop=-0.01,
    solo_divergence=0.25,
    builder={"name": "separable", "rank": 2},
    solo_interval=(-0.05, 0.03),
    solo_images=100,
)
KEPT = replace(
    TRAINED,
    name="conv2",
    replaced=False,
    reason='it says "no, never",\nand means it',
    worker=None,
    job_seconds=None,
    teacher_fed_losses=(),
    student_fed_losses=(),
    solo_drop=None,
    solo_divergence=None,
    solo_interval=None,
    solo_images=None,
)


def test_there_is_a_column_for_every_field_and_a_row_for_every_block() -> None:
    text = blocks_csv([TRAINED, KEPT])
    head, *rows = list(csv.reader(io.StringIO(text)))
    assert head == [field.name for field in fields(BlockResult)]
    sizes = ["1x8x8", "32x8x8", "384", "137", "18432", "2624"]
    by, solo = "separable rank=2", ["-0.05 0.03", "100"]
    why = 'it says "no, never",\nand means it'
    assert rows == [
        [
            "conv1",
            *sizes,
            "True",
            "",
            "0",
            "1.5",
            "0.5 0.25",
            "0.125",
            "-0.01",
            "",
            "0.25",
            by,
            *solo,
        ],
        ["conv2", *sizes, "False", why, "", "", "", "", "", "", "", by, "", ""],
    ]
    assert "\r" not in text


def test_without_blocks_there_is_the_head_alone() -> None:
    assert len(blocks_csv([]).splitlines()) == 1
