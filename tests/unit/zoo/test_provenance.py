from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pbkd.config.load import load_config
from pbkd.zoo.provenance import public_data, reproducing_command, without_paths

CHANGES = [
    "teacher=resnet20",
    "teacher.width=4",
    "teacher.weights=/home/someone/'0123' .pt",
    "data={name: npz, path: a b.npz, crop: 4, flip: true}",
    "builder.rank=2",
    "candidates=[{name: separable, rank: 3}]",
    "target.macs=0.5",
    "keep=[stem*, 'head, or not', 0123, \U0001f600]",
    "distill.loss='on #${x} ",
    "distill.lr=1e-5",
    "finetune.epochs=0",
    "workers=auto",
    "device=cpu",
    "seed=7",
]


@pytest.mark.parametrize(
    "command", ["pbkd run seed=1", "pbkd run", "pbkd zoo compress digits-vgg seed=1 -q"]
)
def test_a_command_that_says_everything_stays(command: str) -> None:
    assert reproducing_command(command, load_config()) == command


@pytest.mark.parametrize(
    "command",
    [
        "pbkd run --resume runs/x",
        "pbkd run -c my.yaml seed=1",
        "pbkd run --config=my.yaml",
        "pbkd -q tests/test_run.py",
        "python 'unfinished",
        "",
    ],
)
def test_any_other_is_made_from_the_configuration(command: str) -> None:
    config = load_config(CHANGES)
    words = shlex.split(reproducing_command(command, config))
    assert words[:2] == ["pbkd", "run"]
    assert load_config(words[2:]) == config
    assert {word.partition("=")[0] for word in words[2:]} == {
        "teacher", "teacher.width", "teacher.weights", "data", "data.path", "data.crop",
        "data.flip", "builder", "builder.rank", "candidates", "target.macs", "keep", "distill.lr",
        "distill.loss",
        "finetune.epochs", "workers", "device", "seed",
    }  # fmt: skip


def test_where_results_go_and_what_is_metered_is_no_part_of_it() -> None:
    config = load_config(["out=elsewhere", "meters=[]", "seed=2"])
    assert reproducing_command("", config) == "pbkd run seed=2"


def test_data_is_named_without_its_folder() -> None:
    choice = {"name": "npz", "path": "/home/someone/data/a.npz", "crop": 4, "download": True}
    assert public_data(choice) == {"name": "npz", "path": "a.npz", "crop": 4}
    assert public_data({"name": "digits"}) == {"name": "digits"}


def test_paths_of_this_machine_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    config = load_config(
        ["teacher.weights=/srv/w/net.pt", "data=npz", "data.path=/srv/w", "plugins=[own/p.py]"]
    )
    text = "weights=/srv/w/net.pt data=/srv/w skipped /srv/w/1.png own/p.py /home/someone/x"
    assert without_paths(text, config) == "weights=net.pt data=w skipped w/1.png own/p.py ~/x"
    assert str(Path.home()) == "/home/someone"
