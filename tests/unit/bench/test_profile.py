from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pbkd.bench.presets import find_preset
from pbkd.bench.profile import profile_single_pass, shares

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry


def test_every_operation_is_counted_once_under_its_kind() -> None:
    found = shares(
        [
            ("aten::mkldnn_convolution", 4.0),
            ("aten::native_batch_norm_backward", 2.0),
            ("aten::add_", 1.0),
            ("aten::_fused_adamw_", 1.0),
            ("aten::linalg_vector_norm", 1.0),
            ("aten::empty", 1.0),
        ]
    )
    assert found == {
        "convolution and matrix product": 0.4,
        "normalisation": 0.2,
        "activation, addition, pooling": 0.1,
        "loss": 0.1,
        "optimiser": 0.1,
        "other": 0.1,
    }


def test_a_profile_names_the_operations_and_can_be_drawn(
    registry: Registry, tmp_path: Path
) -> None:
    found = profile_single_pass(registry, find_preset("digits"), tmp_path, threads=1)
    assert sum(found.values()) == pytest.approx(1)
    assert found["convolution and matrix product"] > 0.1
    assert "convolution_backward" in (tmp_path / "profile.txt").read_text()
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
