from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.utils._validators import validate_repo_id
from pbkd_digits import DigitsSource

import pbkd
from pbkd.config.load import load_config
from pbkd.core.files import write_json
from pbkd.data.normalization import Normalization
from pbkd.errors import PbkdError, RunFolderError, ZooError
from pbkd.models.accuracy import accuracy
from pbkd.models.metrics import macs, parameters
from pbkd.models.weights import fingerprint, read_weights
from pbkd.plugin.registry import Registry
from pbkd.runs.checksums import write_checksums
from pbkd.zoo.add import add_student
from pbkd.zoo.card import read_card
from tests.run_folders import change

FILES = ["README.md", "card.yaml", "config.json", "model.safetensors"]


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def changed(run: Path, old: str, new: str) -> None:
    for file in ("config.yaml", "result.json"):
        change(run / file, old, new)
    accepted(run)


def accepted(run: Path) -> None:
    """Record the files of a run as they are now, as if the run had written them."""
    contents = {file: (run / file).read_bytes() for file in ("README.md", "blocks.csv")}
    write_checksums(run, contents)


def card_of(folder: Path) -> Any:
    return yaml.safe_load((folder / "card.yaml").read_text())


def hub_data(folder: Path) -> Any:
    """Return what huggingface_hub reads from the top of a README; it is strict about it."""
    return ModelCard((folder / "README.md").read_text()).data


def refused(kind: type[PbkdError], registry: Registry, run: Path, zoo: Path, **options: Any) -> str:
    before = sorted(zoo.iterdir())
    with pytest.raises(kind) as caught:
        add_student(registry, run, zoo, **options)
    assert sorted(zoo.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_student_is_in_the_zoo_with_what_its_run_found(
    registry: Registry, finished: Path, zoo: Path
) -> None:
    folder = add_student(registry, finished, zoo)
    assert folder == zoo / "digits-vgg-student"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert sorted(zoo.iterdir()) == [folder]
    result = json.loads((finished / "result.json").read_text())
    card = card_of(folder)
    weights = (folder / "model.safetensors").read_bytes()
    assert weights == (finished / "student" / "model.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(weights).hexdigest()
    for key in ("parameters", "macs"):
        assert card[key] == result["student"][key]
        assert card["teacher"][key] == result["teacher"][key]
    assert card["accuracy"] == {
        "validation": result["validation"]["fine-tuned"],
        "test": result["student"]["accuracy"],
    }
    assert (card["kind"], card["licence"]) == ("student", "Apache-2.0")
    assert card["data"] == {"name": "digits"}
    assert card["summary"].startswith("digits-vgg with 1 of 1 blocks replaced: 61 % of its param")


def test_its_command_gives_the_same_configuration(
    registry: Registry, finished: Path, zoo: Path
) -> None:
    card = card_of(add_student(registry, finished, zoo))
    words = shlex.split(card["command"])
    assert words[:2] == ["pbkd", "run"]
    again, config = load_config(words[2:]), load_config(file=finished / "config.yaml")
    again.out, again.meters = config.out, config.meters
    assert again == config


def test_it_loads_by_name_folder_and_as_from_the_hub(
    registry: Registry, finished: Path, zoo: Path, tmp_path: Path
) -> None:
    folder = add_student(registry, finished, zoo, name="small")
    wanted = fingerprint(pbkd.load(finished))
    (tmp_path / "hub").mkdir()
    for file in ("config.json", "model.safetensors", "README.md"):
        (tmp_path / "hub" / file).symlink_to(folder / file)  # as the hub's own cache has them
    for where in ("small", folder, str(folder), tmp_path / "hub"):
        assert fingerprint(pbkd.load(where)) == wanted


def test_its_readme_is_a_model_card_of_the_hub(
    registry: Registry, finished: Path, zoo: Path
) -> None:
    folder = add_student(registry, finished, zoo, name="small-digits")
    data, text = hub_data(folder), ModelCard((folder / "README.md").read_text()).text
    assert (data.library_name, data.license) == ("pbkd", "apache-2.0")
    assert data.model_name == "small-digits"
    validation, found = data.eval_results
    assert validation.dataset_split == "validation"
    assert (found.task_type, found.dataset_type, found.dataset_split) == (
        "image-classification", "digits", "test",
    )  # fmt: skip
    assert found.metric_type == "accuracy"
    assert found.metric_value == read_card(folder / "card.yaml").test
    assert "# digits-vgg student" in text
    assert card_of(folder)["command"] in text
    validate_repo_id(f"someone/{folder.name}")


def test_half_precision_is_measured_again(registry: Registry, finished: Path, zoo: Path) -> None:
    folder = add_student(registry, finished, zoo, half=True)
    kinds = {tensor.dtype for tensor in read_weights(folder / "model.safetensors").values()}
    assert torch.float32 not in kinds
    student, digits, card = pbkd.load(folder), DigitsSource().load(), card_of(folder)
    assert {p.dtype for p in student.parameters()} == {torch.float32}
    for split in ("validation", "test"):
        rows = getattr(digits, split)
        found = accuracy(student, rows, Normalization((0.5,), (0.5,)), device="cpu")
        assert found == pytest.approx(card["accuracy"][split], abs=1.5 / len(rows))
    assert (parameters(student), macs(student, (1, 8, 8))) == (card["parameters"], card["macs"])
    assert "accuracy_note" not in card
    assert f"is {100 * card['accuracy']['test']:.2f} %" in (folder / "README.md").read_text()


def test_without_the_data_half_precision_says_whose_accuracy_it_is(
    registry: Registry, copied: Path, zoo: Path
) -> None:
    changed(copied, "name: digits\n", "name: npz\n  path: /home/someone/gone.npz\n")
    folder = add_student(registry, copied, zoo, half=True)
    card = card_of(folder)
    assert card["accuracy_note"] == "measured before the weights were rounded to half precision"
    readme = (folder / "README.md").read_text()
    _, found = hub_data(folder).eval_results
    assert found.metric_name == f"Accuracy ({card['accuracy_note']})"
    assert f"accuracy was {card['accuracy_note']}." in readme


def test_nobodys_paths_are_given_away(registry: Registry, copied: Path, zoo: Path) -> None:
    changed(copied, "name: digits\n", "name: npz\n  path: /srv/secret/a.npz\n")
    assert "plugins: []" in (copied / "config.yaml").read_text()
    change(copied / "config.yaml", "plugins: []", "plugins: [/srv/secret/mine.py]")
    result = json.loads((copied / "result.json").read_text())
    command = "pbkd run data=npz data.path=/srv/secret/a.npz --plugin /srv/secret/mine.py"
    readme = (copied / "README.md").read_text().replace(result["command"], command)
    assert "/srv/secret/a.npz" in readme
    (copied / "README.md").write_text(readme + "\nskipped /srv/secret/a.npz\n")
    write_json(copied / "result.json", {**result, "command": command})
    recipe = json.loads((copied / "student" / "config.json").read_text())
    recipe["plugins"] = ["/srv/secret/mine.py"]
    write_json(copied / "student" / "config.json", recipe)
    accepted(copied)
    folder = add_student(registry, copied, zoo)
    for path in folder.iterdir():
        assert b"secret" not in path.read_bytes(), path.name
    card = card_of(folder)
    assert card["data"] == {"name": "npz", "path": "a.npz"}
    assert card["command"] == "pbkd run data=npz data.path=a.npz --plugin mine.py"


def test_a_licence_that_nobody_knows_is_left_out(
    registry: Registry, copied: Path, zoo: Path
) -> None:
    changed(copied, "name: digits-vgg\n", "name: digits-vgg\n  weights: mine.pt\n")
    folder = add_student(registry, copied, zoo)
    assert "licence" not in card_of(folder)
    assert hub_data(folder).license is None
    folder = add_student(registry, copied, zoo, name="mine", licence="My Terms")
    assert card_of(folder)["licence"] == "My Terms"
    assert (hub_data(folder).license, hub_data(folder).license_name) == ("other", "my-terms")


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".a", "a b", "a--b", "a.", "-a", "x" * 97, "ä", "a\n"]
)
def test_a_name_that_cannot_be_a_folders_is_refused(
    registry: Registry, finished: Path, zoo: Path, name: str
) -> None:
    told = refused(ZooError, registry, finished, zoo, name=name)
    assert told.startswith(f"{name!r} is not a valid student name: set --name")


def test_a_name_that_is_taken_is_refused(
    registry: Registry, finished: Path, zoo: Path, tmp_path: Path
) -> None:
    folder = add_student(registry, finished, zoo, name="small")
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    told = refused(ZooError, registry, finished, zoo, name="small")
    assert told == f"'{folder}' already exists: set another --name, or delete it."
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == content
    (tmp_path / "other").mkdir()
    refused(ZooError, registry, finished, tmp_path / "other", name="small")
    told = refused(ZooError, registry, finished, zoo, name="resnet20")
    assert told.startswith("'resnet20' is already a model of the zoo")


def test_a_run_that_is_not_finished_is_refused(
    registry: Registry, copied: Path, zoo: Path, tmp_path: Path
) -> None:
    (copied / "README.md").unlink()
    told = refused(RunFolderError, registry, copied, zoo)
    assert told.startswith(f"'{copied}' holds no finished run: ")
    refused(RunFolderError, registry, tmp_path / "nowhere", zoo)


def test_a_student_that_cannot_be_loaded_is_refused(
    registry: Registry, copied: Path, zoo: Path
) -> None:
    change(copied / "student" / "config.json", '"low-rank"', '"identity"')
    accepted(copied)
    told = refused(ZooError, registry, copied, zoo)
    assert told.startswith(f"the student of '{copied}' cannot be loaded, so it is not added: '")
    assert "does not fit the network" in told


def test_a_zoo_folder_that_cannot_be_written_is_told(
    registry: Registry, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PbkdError, match="cannot be written"):
        add_student(registry, finished, tmp_path / "file")


def test_arrays_may_be_the_data(
    registry: Registry, copied: Path, zoo: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for which in ("train", "test"):
        arrays[f"x_{which}"] = random.integers(256, size=(40, 8, 8), dtype=np.uint8)
        arrays[f"y_{which}"] = np.arange(40) % 10
    np.savez(tmp_path / "a.npz", **arrays)
    changed(copied, "name: digits\n", f"name: npz\n  path: {tmp_path / 'a.npz'}\n")
    card = card_of(add_student(registry, copied, zoo, half=True))
    assert card["accuracy"]["test"] < 0.5, "these images say nothing of their labels"
