from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pbkd.config.load import load_config, merge_layer, read_overrides
from pbkd.config.schema import DistillConfig, RunConfig
from pbkd.errors import ConfigError


def refused(*overrides: str) -> str:
    """Return why these overrides are refused: one sentence or two, on one line."""
    with pytest.raises(ConfigError) as caught:
        load_config(overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_without_anything_given_the_configuration_is_the_quickstart() -> None:
    config = load_config()
    assert config == RunConfig()
    assert config.teacher == {"name": "digits-vgg"}
    assert config.data == {"name": "digits"}
    assert config.workers == 1


def test_two_configurations_share_nothing() -> None:
    load_config().keep.append("changed")
    load_config().teacher["name"] = "changed"
    assert load_config() == RunConfig()


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        (
            "worker=2",
            "unknown key 'worker'. Did you mean 'workers'? Known: allow_chance, augmentation, ",
        ),
        ("distill.epoch=2", "unknown key 'distill.epoch'. Did you mean 'epochs'? Known: epochs, "),
        ("finetune.weigth_decay=1", "Did you mean 'weight_decay'? Known: epochs, loss, lr, "),
        ("model=vgg11", "unknown key 'model'."),
        ("a.b.c=1", "unknown key 'a'."),
        (".seed=1", "unknown key ''."),
    ],
)
def test_an_unknown_key_is_named_with_its_nearest(override: str, hint: str) -> None:
    assert hint in refused(override)


@pytest.mark.parametrize(
    ("override", "start"),
    [
        ("workers=many", "'workers' is 'many', but must be a number or auto."),
        ("threads=many", "'threads': Value 'many'"),
        ("workers=1.5", "'workers': Value '1.5'"),
        ("workers=true", "'workers': Value 'True'"),
        ("workers=", "'workers': "),
        ("seed=[1]", "'seed': "),
        ("distill.lr=fast", "'distill.lr': Value 'fast'"),
        ("distill.lr.x=1", "'distill.lr': "),
        ("distill=3", "'distill' is a group: set its keys, such as distill.epochs."),
        ("finetune=null", "'finetune' is a group: set its keys, such as finetune.epochs."),
        ("keep=stem", "'keep' is a list: write keep=[a, b]."),
        ("meters={name: nvml}", "'meters' is a list: write meters=[a, b]."),
        ("meters=[1]", "'meters.0' is 1, but must be a name."),
        ("meters=[nvml, {rate: 1}]", "'meters.1' is None, but must be a name."),
        ("keep=[a", "'keep' is a list: write keep=[a, b]."),
        ("seed={", "'seed': Value '{' of type"),
        ("seed=${seed}", "'seed': Value '${seed}' of type"),
        ("seed=1e3", "'seed': Value '1000.0' of type"),
        ("distill={lr: fast}", "'distill.lr': Value 'fast'"),
        ("teacher=", "'teacher' is '', but must be a name."),
        ("builder={rank: 1, name: [a]}", "'builder' is ['a'], but must be a name."),
        ("out=", "'out' is empty, but must be a folder."),
        ("device=tpu", "'device' is 'tpu', but must be one of auto, cpu, cuda, mps."),
    ],
)
def test_an_ill_typed_value_is_told_with_its_key(override: str, start: str) -> None:
    assert refused(override).startswith(start)


@pytest.mark.parametrize(
    ("key", "values", "wanted"),
    [
        ("workers", [0, -1, 2000], "between 1 and 1024"),
        ("threads", [0, 10**9], "between 1 and 1024"),
        ("batch_size", [1, 10**18], "between 2 and 1048576"),
        ("target.block_drop", [-0.1, 101, "nan"], "between 0 and 100"),
        ("recalibrate_batches", [-1], "at least 0"),
        ("distill.epochs", [0], "at least 1"),
        ("distill.student_fed_epochs", [-1], "at least 0"),
        ("distill.lr", [0, -0.1, "nan"], "above 0"),
        ("distill.weight_decay", [-0.1], "at least 0"),
        ("finetune.epochs", [-1], "at least 0"),
        ("finetune.lr", [0], "above 0"),
        ("finetune.weight_decay", [-1], "at least 0"),
    ],
)
def test_a_number_out_of_range_is_told_with_the_range(
    key: str, values: list[float | str], wanted: str
) -> None:
    for value in values:
        assert refused(f"{key}={value}").endswith(f", but must be {wanted}.")


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["target.curve=[]"], "'target.curve' must have one share or more, none of them twice."),
        (["target.curve=[0.5, 0.50]"], "'target.curve' must have one share or more, none of them"),
        (["target.curve=[0.5, 1.1]"], "each share must be above 0, at most 1."),
        (["target.curve=0.5"], "'target.curve' is a list: write target.curve=[a, b]."),
        (["target.curve=[0.5]", "target.speedup=2"], "of each student: leave target.speedup out."),
    ],
)
def test_a_curve_has_shares_and_no_other_limits(overrides: list[str], wanted: str) -> None:
    assert wanted in refused(*overrides)


@pytest.mark.parametrize("key", ["distill.lr", "finetune.weight_decay"])
def test_infinity_is_no_number(key: str) -> None:
    assert refused(f"{key}=inf") == f"'{key}' is inf, but must be finite."


def test_the_ends_of_a_range_are_allowed() -> None:
    config = load_config(["target.block_drop=100", "distill.weight_decay=0", "finetune.epochs=0"])
    assert config.target.block_drop == 100
    assert (config.distill.weight_decay, config.finetune.epochs) == (0.0, 0)


@pytest.mark.parametrize(
    "override",
    [
        "workers",
        "",
        "=",
        "=1",
        "==",
    ],
)
def test_what_is_not_an_override_is_told_in_full(override: str) -> None:
    assert refused(override).startswith(f"'{override}' ")


def test_a_choice_is_a_bare_name_or_its_parts() -> None:
    assert load_config(["scheduler=other"]) == load_config(["scheduler.name=other"])
    assert load_config(["scheduler=other"]).scheduler == {"name": "other"}
    assert load_config(["scheduler={name: other, seed: 3}"]).scheduler == {
        "name": "other",
        "seed": 3,
    }


def test_the_order_of_a_name_and_its_options_does_not_matter() -> None:
    wanted = {"name": "other", "seed": 3, "share": 0.5}
    overrides = ["scheduler=other", "scheduler.seed=3", "scheduler.share=0.5"]
    for order in (overrides, overrides[::-1], [*overrides[1:], overrides[0]]):
        assert load_config(order).scheduler == wanted


def test_the_last_of_two_overrides_wins() -> None:
    assert load_config(["seed=1", "seed=2"]).seed == 2
    assert load_config(["scheduler=a", "scheduler=b"]).scheduler == {"name": "b"}
    assert load_config(["distill={lr: 1, epochs: 2}", "distill.lr=2"]).distill == DistillConfig(
        lr=2.0, epochs=2
    )


def test_options_without_a_name_go_to_the_strategy_that_is_there() -> None:
    assert load_config(["builder.share=0.5"]).builder == {"name": "low-rank", "share": 0.5}


@dataclass
class Other:
    teacher: dict[str, Any]
    epochs: int = 1


def test_any_dataclass_can_be_put_together_from_layers() -> None:
    start = Other({"name": "vgg16", "depth": 1})
    merged = merge_layer(start, read_overrides(["epochs=2", "teacher=vgg11", "teacher.width=3"]))
    assert merged == Other({"name": "vgg11", "width": 3}, 2)
    assert start == Other({"name": "vgg16", "depth": 1})
    with pytest.raises(ConfigError, match="unknown key 'workers'"):
        merge_layer(start, {"workers": 2})
