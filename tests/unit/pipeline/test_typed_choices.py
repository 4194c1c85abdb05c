from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.config.load import load_config
from pbkd.pipeline.typed_choices import typed_choices

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry


def test_options_that_were_text_get_their_declared_types(registry: Registry) -> None:
    config = load_config(
        [
            "teacher=resnet20",
            "teacher.width=1_6",
            "teacher.mean=[0.5,1e-1]",
            "teacher.weights=[c].pt",
            "data=npz",
            "data.path=0123",
            "data.flip=on",
            "builder.share=1e-1",
            "candidates=[{name: separable,rank: 0x2}]",
            "meters=[nvml,{name: rapl,root: 1e3}]",
        ]
    )
    typed = typed_choices(config, registry)
    assert typed.teacher == {
        "name": "resnet20",
        "width": 16,
        "mean": [0.5, 0.1],
        "weights": "[c].pt",
    }
    assert typed.data == {"name": "npz", "path": "0123", "flip": True}
    assert typed.builder == {"name": "low-rank", "share": 0.1}
    assert typed.candidates == [{"name": "separable", "rank": 2}]
    assert typed.meters == ["nvml", {"name": "rapl", "root": "1e3"}]
    assert typed_choices(typed, registry) == typed


def test_names_and_options_that_do_not_exist_are_left_for_whoever_uses_them(
    registry: Registry,
) -> None:
    config = load_config(
        ["teacher=memory:Net", "data=none", "data.x=[1", "builder=none", "launcher.x=1e3"]
    )
    assert typed_choices(config, registry) == config
