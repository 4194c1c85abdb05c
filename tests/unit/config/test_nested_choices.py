"""Choices in sections: `distill.loss=NAME`, `finetune.optimiser.OPTION=VALUE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pbkd.config.load import load_config, to_yaml
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "overrides",
    [
        ["distill.optimiser=sgd", "distill.optimiser.momentum=0.8"],
        ["distill.optimiser.momentum=0.8", "distill.optimiser=sgd"],
        ["distill.optimiser.name=sgd", "distill.optimiser.momentum=0.8"],
        ["distill.optimiser={name: sgd, momentum: 0.8}"],
        ["distill={optimiser: {name: sgd, momentum: 0.8}}"],
        ["distill={optimiser: sgd}", "distill.optimiser.momentum=0.8"],
    ],
)
def test_a_choice_in_a_section_is_written_in_every_way(overrides: list[str]) -> None:
    assert load_config(overrides).distill.optimiser == {"name": "sgd", "momentum": 0.8}


@pytest.mark.parametrize(
    "options",
    [
        {"distill": {"optimiser": {"name": "sgd", "momentum": 0.8}}},
        {"distill": {"optimiser": "sgd"}},
    ],
)
def test_a_choice_in_a_section_is_given_from_python(options: dict[str, Any]) -> None:
    distill = load_config(options=options).distill
    assert distill.optimiser["name"] == "sgd"
    assert distill.loss == {"name": "nmse"}


def test_another_name_discards_the_options_of_the_file_and_the_same_name_keeps_them(
    tmp_path: Path,
) -> None:
    file = tmp_path / "run.yaml"
    start = load_config(["distill.optimiser=sgd", "distill.optimiser.momentum=0.8"])
    file.write_text(to_yaml(start))
    assert load_config(file=file) == start
    same = load_config(["distill.optimiser.nesterov=false"], file=file).distill
    assert same.optimiser == {"name": "sgd", "momentum": 0.8, "nesterov": False}
    assert load_config(["distill.optimiser=adamw"], file=file).distill.optimiser == {
        "name": "adamw"
    }
    file.write_text("distill:\n  loss: mse\n  lr: 0.5\n")
    distill = load_config(["distill.loss.scale=2"], file=file).distill
    assert (distill.loss, distill.lr) == ({"name": "mse", "scale": 2}, 0.5)


def test_a_plugin_of_optimisers_is_used_in_both_phases_that_do_not_name_one() -> None:
    mine: Any = {"lion": {"optimiser": ("lion",)}}
    config = load_config(plugins=mine)
    assert config.distill.optimiser == config.finetune.optimiser == {"name": "lion"}
    config = load_config(["distill.optimiser=sgd", "finetune.optimiser.beta=1"], plugins=mine)
    assert config.distill.optimiser == {"name": "sgd"}
    assert config.finetune.optimiser == {"name": "lion", "beta": 1}
    two: Any = {"lion": {"optimiser": ("lion", "tiger")}}
    with pytest.raises(
        ConfigError, match=r"choose with distill\.optimiser=NAME finetune\.optimiser=NAME\."
    ):
        load_config(plugins=two)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("distill.optimiser=", "'distill.optimiser' is '', but must be a name."),
        ("distill.loss={share: 1, name: [a]}", "'distill.loss' is ['a'], but must be a name."),
        ("distill.optimizer=sgd", "unknown key 'distill.optimizer'. Did you mean 'optimiser'?"),
    ],
)
def test_what_is_no_choice_is_refused_with_its_key(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config([override])
    assert str(caught.value).startswith(message)
