"""Put the student of a finished run into a zoo folder, in the layout of the Hugging Face hub."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pbkd.config import load_config
from pbkd.entries import CARD, README, RECIPE, WEIGHTS, find_student
from pbkd.errors import ConfigError, DataError, RunFolderError, ZooError
from pbkd.journal import read_json, write_file, write_json
from pbkd.measure import accuracy
from pbkd.origin import public_data, reproducing_command, without_paths
from pbkd.prepare import load_data, pick_device
from pbkd.recipe import read_recipe
from pbkd.report.hub import hub_readme
from pbkd.resume import is_finished
from pbkd.student import load
from pbkd.weights import halved, read_weights, write_weights
from pbkd.zoo import card_licence

if TYPE_CHECKING:
    from pbkd.config import RunConfig
    from pbkd.registry import Registry

__all__ = ["enrol"]

# What may be both a folder's name and a repository's on the hub.
_NAME = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")
_FULL_PRECISION = "measured before the weights were rounded to half precision"


def enrol(
    registry: Registry,
    run: Path,
    zoo: Path,
    *,
    name: str | None = None,
    licence: str | None = None,
    half: bool = False,
) -> Path:
    """Copy a finished run's student into a zoo folder; return its own folder there.

    `half` rounds its weights to half precision; accuracy is then measured again where the run's
    data is at hand. Without `licence` it is the one of the teacher's weights, if those are the
    zoo's. The folder appears whole or not at all. Raises `RunFolderError` or `ZooError`.
    """
    if not is_finished(run):
        raise RunFolderError(
            f"'{run}' holds no finished run: `pbkd status {run}` tells how to go on with it."
        )
    config = load_config(file=run / "config.yaml")
    card = _card(run, config)
    card["name"] = name = name or re.sub(r"[:/]", "-", f"{config.teacher['name']}-student")
    licence = licence or card_licence(registry, config.teacher)
    _check_free(registry, zoo, name)
    stage = zoo / f".{name}.{os.getpid()}.partial"
    try:
        _stage(run, stage, config, {**card, "licence": licence}, half=half)
        stage.rename(zoo / name)
    except OSError as error:
        raise ZooError(f"'{zoo / name}' cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return zoo / name


def _check_free(registry: Registry, zoo: Path, name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > 96:
        raise ZooError(
            f"a student cannot be called {name!r}: give --name with letters, digits and single"
            " dots, dashes or underscores between them."
        )
    student = find_student(name)
    taken = student.folder if student else zoo / name
    if name in registry.strategies["model"]:
        raise ZooError(f"'{name}' is the name of a model of the zoo: give another --name.")
    if student or taken.exists():
        raise ZooError(f"'{taken}' is there already: give another --name, or delete it.")


def _card(run: Path, config: RunConfig) -> dict[str, Any]:
    """Return what is known of a student from its run alone."""
    result = read_json(run / "result.json")
    try:
        teacher, student, blocks = result["teacher"], result["student"], result["blocks"]
        replaced = sum(block["replaced"] for block in blocks)
        shares = {key: 100 * student[key] / teacher[key] for key in ("parameters", "macs")}
        return {
            "name": None,
            "summary": f"{teacher['name']} with {replaced} of {len(blocks)} blocks replaced:"
            f" {shares['parameters']:.0f} % of its parameters, {shares['macs']:.0f} % of its MACs",
            "kind": "student",
            "licence": None,
            "teacher": {
                "name": teacher["name"],
                "accuracy": {"test": teacher["accuracy"]},
                "parameters": teacher["parameters"],
                "macs": teacher["macs"],
            },
            "data": public_data(config.data),
            "command": without_paths(reproducing_command(result["command"], config), config),
            "accuracy": {"test": student["accuracy"]},
            "parameters": student["parameters"],
            "macs": student["macs"],
        }
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise RunFolderError(
            f"'{run / 'result.json'}' is no result of this version of pbkd ({error!r})."
        ) from error


def _stage(run: Path, stage: Path, config: RunConfig, card: dict[str, Any], *, half: bool) -> None:
    """Write the four files of a student."""
    home = run / "student"
    read_recipe(home / RECIPE)
    recipe = read_json(home / RECIPE)
    recipe["plugins"] = [Path(plugin).name for plugin in recipe.get("plugins", [])]
    write_json(stage / RECIPE, recipe)
    weights = read_weights(home / WEIGHTS)
    if half:
        write_weights(stage / WEIGHTS, halved(weights))
    else:
        write_file(stage / WEIGHTS, (home / WEIGHTS).read_bytes())
    note = _remeasure(stage, config, card) if half else None
    card["sha256"] = hashlib.sha256((stage / WEIGHTS).read_bytes()).hexdigest()
    known = {key: value for key, value in card.items() if value is not None}
    text = yaml.safe_dump(known, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    write_file(stage / CARD, text.encode())
    body = (run / "README.md").read_text("utf-8")
    made = read_json(run / "result.json")["command"]
    body = without_paths(body.replace(made, card["command"]), config)
    write_file(stage / README, hub_readme(known, body, note).encode())


def _remeasure(stage: Path, config: RunConfig, card: dict[str, Any]) -> str:
    """Measure the accuracy of rounded weights, or record that it is not theirs; say which."""
    student, recipe = load(stage, plugins=config.plugins), read_recipe(stage / RECIPE)
    device = pick_device("auto")
    try:
        data = load_data({key: value for key, value in config.data.items() if key != "download"})
    except (ConfigError, DataError):
        card["accuracy_note"] = _FULL_PRECISION
        return f"The weights are in half precision; accuracy was {_FULL_PRECISION}."
    for split in ("validation", "test"):
        card["accuracy"][split] = accuracy(
            student.to(device),
            getattr(data, split),
            mean=recipe.mean,
            std=recipe.std,
            device=device,
        )
    return (
        "The weights are in half precision; with them the accuracy on the test split is"
        f" {100 * card['accuracy']['test']:.2f} %. Everything below was measured before that."
    )
