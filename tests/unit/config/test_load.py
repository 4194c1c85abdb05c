from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pbkd.config.load import load_config, merge_layer, read_overrides, to_yaml
from pbkd.config.schema import DistillConfig, FineTuneConfig, RunConfig
from pbkd.errors import ConfigError, PluginError
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry

PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

from pbkd import hookimpl
"""

SCHEDULER = """
@dataclass(frozen=True)
class {kind}:
    name: ClassVar[str] = "{name}"
    seed: int = 0

    def schedule(self, *given):
        raise NotImplementedError

    accepts = partition = open = schedule


@hookimpl
def register_{slot}s():
    return [{kind}]
"""


def plugin(folder: Path, name: str, slot: str = "scheduler") -> str:
    """Write a plugin file that registers one strategy; return its path."""
    path = folder / f"{name}.py"
    path.write_text(PLUGIN + SCHEDULER.format(kind=name.title(), name=name, slot=slot))
    return str(path)


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
        ("worker=2", "unknown key 'worker'. Did you mean 'workers'? Known: autocast, "),
        ("distill.epoch=2", "unknown key 'distill.epoch'. Did you mean 'epochs'? Known: epochs, "),
        ("finetune.temprature=1", "Did you mean 'temperature'? Known: epochs, lr, "),
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
        ("teacher=", "'teacher' is None, but must be a name."),
        ("data.name=''", "'data' is '', but must be a name."),
        ("scheduler=3", "'scheduler' is 3, but must be a name."),
        ("builder=[a]", "'builder' is ['a'], but must be a name."),
        ("out=[1]", "'out': "),
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
        ("max_drop", [-0.1, 1.1, "nan"], "between 0 and 1"),
        ("recalibrate_batches", [-1], "at least 0"),
        ("distill.epochs", [0], "at least 1"),
        ("distill.student_fed_epochs", [-1], "at least 0"),
        ("distill.lr", [0, -0.1, "nan"], "above 0"),
        ("distill.weight_decay", [-0.1], "at least 0"),
        ("finetune.epochs", [-1], "at least 0"),
        ("finetune.lr", [0], "above 0"),
        ("finetune.weight_decay", [-1], "at least 0"),
        ("finetune.temperature", [0], "above 0"),
        ("finetune.soft_weight", [-0.1, 1.1], "between 0 and 1"),
    ],
)
def test_a_number_out_of_range_is_told_with_the_range(
    key: str, values: list[float | str], wanted: str
) -> None:
    for value in values:
        assert refused(f"{key}={value}").endswith(f", but must be {wanted}.")


@pytest.mark.parametrize("key", ["distill.lr", "finetune.weight_decay", "finetune.temperature"])
def test_infinity_is_no_number(key: str) -> None:
    assert refused(f"{key}=inf") == f"'{key}' is inf, but must be finite."


def test_the_ends_of_a_range_are_allowed() -> None:
    config = load_config(["max_drop=1", "finetune.soft_weight=0", "finetune.epochs=0", "workers=1"])
    assert (config.max_drop, config.finetune.soft_weight, config.finetune.epochs) == (1.0, 0.0, 0)


@pytest.mark.parametrize(
    "override",
    [
        "workers",
        "",
        "=",
        "=1",
        "==",
        "keep=[a",
        "seed={",
        "out='x",
        "seed=&a [*a]",
        "teacher.x=!x 1",
    ],
)
def test_what_is_not_an_override_is_told_in_full(override: str) -> None:
    assert refused(override).startswith(f"'{override}' ")


def test_what_stands_for_another_value_is_resolved_and_never_left_over() -> None:
    assert load_config(["seed=7", "out=runs-${seed}"]).out == "runs-7"
    assert refused("out=${nowhere}") == "'out': Interpolation key 'nowhere' not found."
    assert refused("seed=${seed}").startswith("'seed': ")
    assert "${" in refused(r"out=\${seed}")
    assert "${" in refused(r"teacher.path=\${seed")


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


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_is_a_layer_between_defaults_and_overrides(tmp_path: Path) -> None:
    file = write(
        tmp_path / "run.yaml",
        "seed: 3\nworkers: 2\nscheduler: round-robin\ndistill:\n  lr: 0.1\nmeters: []\n",
    )
    config = load_config(["workers=4", "distill.epochs=5"], file=file)
    assert config == RunConfig(
        seed=3,
        workers=4,
        scheduler={"name": "round-robin"},
        distill=DistillConfig(lr=0.1, epochs=5),
        meters=[],
    )


def test_another_strategy_does_not_inherit_the_options_of_the_one_before(tmp_path: Path) -> None:
    file = write(tmp_path / "run.yaml", "builder: {name: separable, rank: 3}\n")
    assert load_config(file=file).builder == {"name": "separable", "rank": 3}
    kept = {"name": "separable", "rank": 3, "form": "paper"}
    assert load_config(["builder.form=paper"], file=file).builder == kept
    assert load_config(["builder=separable"], file=file).builder == {"name": "separable", "rank": 3}
    assert load_config(["builder=other"], file=file).builder == {"name": "other"}
    other = {"name": "other", "width": 1}
    assert load_config(["builder.width=1", "builder=other"], file=file).builder == other


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_config(file=write(tmp_path / "run.yaml", "# nothing\n")) == RunConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workers: [", "is not a YAML configuration"),
        ("- workers\n- 2\n", "must hold a mapping"),
        ("just text", "unknown key 'just text'"),
        ("seed: 1\nseed: 2\n", "is not a YAML configuration"),
        ("worker: 2\n", "unknown key 'worker'. Did you mean 'workers'?"),
        ("1: 2\n", "unknown key '1'"),
        ("distill:\n", "'distill' is a group"),
        ("distill: {epochs: many}\n", "'distill.epochs': "),
        ("workers: 0\n", "'workers' is 0"),
        (f"out: {'x' * 2**20}\n", "is larger than 1,048,576 bytes"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "has YAML aliases"),
        ("out: " + "${seed}" * 17, "has more than 16 references"),
        ("out: !!python/object/apply:os.system [true]\n", "is not a YAML configuration"),
        ("out: ${nowhere}\n", "is not a YAML configuration: Interpolation key"),
        ("\x00", "is not a YAML configuration"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file=write(tmp_path / "run.yaml", text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration file"):
        load_config(file=tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is not a YAML configuration"):
        load_config(file=tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\xd8\x00")
    with pytest.raises(ConfigError, match="is not a YAML configuration"):
        load_config(file=tmp_path / "binary.yaml")


def test_what_is_saved_is_read_back_as_it_was(tmp_path: Path) -> None:
    config = RunConfig(
        teacher={"name": "timm:resnet10t", "weights": "a b.safetensors", "mean": [0.5, 1, 1e-3]},
        builder={"name": "separable", "rank": 3, "deep": {"a": [1, None, "1e3", "yes", "~", ""]}},
        meters=["nvml", {"name": "rapl", "rate": 2}],
        plugins=["my-plugin", "x/y.py"],
        threads=2,
        seed=-(10**30),
        distill=DistillConfig(epochs=3, lr=1e-05),
        finetune=FineTuneConfig(epochs=0),
        out="runs/ünder \N{SNOWMAN}: #1 {x}\n",
    )
    assert load_config(file=write(tmp_path / "saved.yaml", to_yaml(config))) == config


# A name is never empty, and "???" is how omegaconf writes that a value is missing. Versions of
# PyYAML differ in how they fold control characters and exotic line ends.
LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
TEXTS = st.text(LETTERS, min_size=1).filter(lambda text: "${" not in text and text != "???")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(name=TEXTS, options=st.dictionaries(TEXTS.filter(lambda t: t != "name"), VALUES), out=TEXTS)
def test_any_choice_survives_saving(
    tmp_path_factory: pytest.TempPathFactory, name: str, options: dict[str, Any], out: str
) -> None:
    config = RunConfig(teacher={"name": name, **options}, out=out)
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(to_yaml(config).encode())
    assert load_config(file=file) == config


KEYS = st.sampled_from(
    [
        "seed",
        "out",
        "teacher",
        "teacher.weights",
        "distill",
        "distill.lr",
        "meters",
        "keep",
        "device",
    ]
)
SNIPPETS = st.lists(
    st.sampled_from([*"[]{}:,&*!|>-'\"\\${}#%@=.?~0123456789e\n\t ", "name", "null", "???", "inf"]),
    max_size=8,
).map("".join)
OVERRIDES = st.lists(
    st.one_of(st.text(), st.builds("{}={}".format, KEYS, st.one_of(st.text(), SNIPPETS))),
    max_size=3,
)


@settings(max_examples=150)
@given(OVERRIDES)
@example(["meters={name: x}"])
@example(["out=\\${x"])
@example(["teacher.x=!!set {a}"])
@example(["teacher=${data}"])
@example(["[=1"])
def test_any_text_is_a_configuration_or_a_mistake(overrides: list[str]) -> None:
    try:
        config = load_config(overrides)
    except ConfigError as error:
        assert str(error)
    else:
        assert isinstance(config, RunConfig)
        assert to_yaml(config)


def test_a_plugin_given_by_name_takes_its_slot(tmp_path: Path) -> None:
    spec = plugin(tmp_path, "mine")
    registry = build_registry([spec])
    config = load_config(plugins=registry.provided([spec]))
    assert config == RunConfig(scheduler={"name": "mine"}, plugins=[spec])


def test_a_plugin_stands_between_the_file_and_the_overrides(tmp_path: Path) -> None:
    spec = plugin(tmp_path, "mine")
    registry = build_registry([spec])
    file = write(tmp_path / "run.yaml", "scheduler: round-robin\nplugins: [other]\n")
    config = load_config(["scheduler.seed=3"], file=file, plugins=registry.provided([spec]))
    assert config.scheduler == {"name": "mine", "seed": 3}
    assert config.plugins == ["other", spec]
    config = load_config(["scheduler=greedy"], file=file, plugins=registry.provided([spec]))
    assert config.scheduler == {"name": "greedy"}
    assert config.plugins == ["other", spec]


def test_a_saved_configuration_needs_no_selection(tmp_path: Path) -> None:
    spec = plugin(tmp_path, "mine")
    config = load_config(["scheduler.seed=3"], plugins=build_registry([spec]).provided([spec]))
    file = write(tmp_path / "saved.yaml", to_yaml(config))
    assert load_config(file=file) == config
    assert load_config(file=file, plugins=build_registry([spec]).provided([spec])) == config


def test_two_plugins_that_claim_one_slot_are_both_named(tmp_path: Path) -> None:
    specs = [plugin(tmp_path, "mine"), plugin(tmp_path, "yours")]
    registry = build_registry(specs)
    with pytest.raises(ConfigError) as caught:
        load_config(plugins=registry.provided(specs))
    assert str(caught.value) == (
        f"'mine' of {specs[0]} and 'yours' of {specs[1]} claim the slot 'scheduler':"
        " choose with scheduler=NAME."
    )
    for override in ("scheduler=yours", "scheduler.name=yours"):
        chosen = load_config([override], plugins=registry.provided(specs))
        assert chosen.scheduler == {"name": "yours"}


def test_plugins_of_different_slots_go_together(tmp_path: Path) -> None:
    specs = [plugin(tmp_path, "mine"), plugin(tmp_path, "cut", "partitioner")]
    config = load_config(plugins=build_registry(specs).provided(specs))
    assert (config.scheduler["name"], config.partitioner["name"]) == ("mine", "cut")


def test_a_plugin_given_twice_or_installed_is_no_conflict(registry: Registry) -> None:
    for plugins in (["greedy", "greedy"], ["greedy", "pbkd_greedy"]):
        config = load_config(plugins=registry.provided(plugins))
        assert config.scheduler == {"name": "greedy"}
        assert config.plugins == list(dict.fromkeys(plugins))


def test_a_meter_is_added_to_the_others_once(tmp_path: Path, registry: Registry) -> None:
    assert load_config(plugins=registry.provided(["nvml"])).meters == ["nvml", "rapl"]
    file = write(tmp_path / "run.yaml", "meters: []\n")
    assert load_config(file=file, plugins=registry.provided(["rapl"])).meters == ["rapl"]
    spec = plugin(tmp_path, "watt", "meter")
    added = build_registry([spec])
    assert load_config(plugins=added.provided([spec])).meters == ["nvml", "rapl", "watt"]
    assert load_config(["meters=[rapl]"], plugins=added.provided([spec])).meters == ["rapl"]


def test_a_loss_takes_its_place_in_distill(registry: Registry) -> None:
    chosen = load_config(["distill.epochs=3"], plugins=registry.provided(["cosine"])).distill
    assert (chosen.loss, chosen.epochs) == ("cosine", 3)
    config = load_config(["distill.loss=mse"], plugins=registry.provided(["cosine"]))
    assert config.distill.loss == "mse"
    with pytest.raises(ConfigError, match="claim the slot 'loss': choose with distill.loss=NAME"):
        load_config(plugins=registry.provided(["squared-error"]))
    config = load_config(["distill.loss=mse"], plugins=registry.provided(["squared-error"]))
    assert config.distill.loss == "mse"


def test_a_zoo_takes_no_slot(registry: Registry) -> None:
    assert load_config(plugins=registry.provided(["zoo"])) == RunConfig(plugins=["zoo"])
    config = load_config(["teacher=vgg11"], plugins=registry.provided(["zoo"]))
    assert config.teacher == {"name": "vgg11"}


def test_a_plugin_that_is_not_there_is_a_plugin_error(registry: Registry) -> None:
    with pytest.raises(PluginError, match="there is no plugin 'gredy'.*Did you mean 'greedy'"):
        load_config(plugins=registry.provided(["gredy"]))


@dataclass
class Other:
    model: dict[str, Any]
    epochs: int = 1


def test_any_dataclass_can_be_put_together_from_layers() -> None:
    start = Other({"name": "vgg16", "depth": 1})
    merged = merge_layer(start, read_overrides(["epochs=2", "model=vgg11", "model.width=3"]))
    assert merged == Other({"name": "vgg11", "width": 3}, 2)
    assert start == Other({"name": "vgg16", "depth": 1})
    with pytest.raises(ConfigError, match="unknown key 'workers'"):
        merge_layer(start, {"workers": 2})
