"""Configuration files: layers, saving and reading back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pbkd.config.load import load_config, to_yaml
from pbkd.config.schema import DistillConfig, FineTuneConfig, RunConfig
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


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
        ("workers: [", "is not YAML"),
        ("- workers\n- 2\n", "must hold a mapping"),
        ("just text", "must hold a mapping"),
        ("seed: 1\nseed: 2\n", "is not YAML"),
        ("worker: 2\n", "unknown key 'worker'. Did you mean 'workers'?"),
        ("1: 2\n", "unknown key '1'"),
        ("distill:\n", "'distill' is a group"),
        ("distill: {epochs: many}\n", "'distill.epochs': "),
        ("workers: 0\n", "'workers' is 0"),
        (f"out: {'x' * 2**20}\n", "is larger than 262,144 bytes"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "has YAML aliases"),
        ("seed: ${workers}\n", "'seed': Value '${workers}' of type 'str' could not be converted"),
        ("out: [a]\n", "'out': "),
        ("out: {a: b}\n", "'out': "),
        ("plugins: [{a: b}]\n", "'plugins"),
        ("data: {name: npz, name: npz}\n", "is not YAML"),
        ("[" * 1000, "is nested deeper than 50 levels"),
        ("out: !!python/object/apply:os.system [true]\n", "has the YAML tag "),
        ("\x00", "is not YAML"),
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
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(file=tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\xd8\x00")
    with pytest.raises(ConfigError, match="is not YAML"):
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
        out="runs/ünder \N{SNOWMAN}: #1 {x} ${seed} ???\n",
    )
    assert load_config(file=write(tmp_path / "saved.yaml", to_yaml(config))) == config
