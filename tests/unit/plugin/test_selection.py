from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pbkd.config.schema import RunConfig
from pbkd.plugin.selection import selection_notes


@pytest.mark.parametrize(
    ("provided", "changes", "note"),
    [
        ({"scheduler": ("mine",)}, {"scheduler": {"name": "mine"}}, "scheduler=mine."),
        ({"meter": ("volt",)}, {"meters": ["rapl", {"name": "volt"}]}, "meters.1=volt."),
        ({"builder": ("small",)}, {"candidates": [{"name": "small"}]}, "candidates.0=small."),
        ({"model": ("net",)}, {"teacher": {"name": "net"}}, "teacher=net."),
        ({"model": ("nets",)}, {"teacher": {"name": "nets:one"}}, "teacher=nets."),
        ({}, {}, "nothing."),
        (
            {"model": ("net",), "builder": ("small",)},
            {"builder": {"name": "small"}},
            "builder=small; to select what else it provides: the model 'net' (teacher=net).",
        ),
        (
            {"exporter": ("c",), "section": ("s",), "observer": ("o",)},
            {},
            "nothing; to select what else it provides: the exporter 'c' (pbkd export --format c),"
            " the section 's' (pbkd report --section s), the observer 'o' (observers=[o]).",
        ),
    ],
)
def test_what_a_plugin_selected_is_told(
    provided: dict[str, tuple[str, ...]], changes: dict[str, Any], note: str
) -> None:
    config = replace(RunConfig(), **changes)
    assert selection_notes({"mine.py": provided}, config) == [f"--plugin mine.py selects {note}"]
