"""Put the student of a finished run into a zoo folder, in the layout of the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pbkd.config.load import load_config
from pbkd.config.schema import RunConfig
from pbkd.core.devices import pick_device
from pbkd.core.files import read_json, write_file, write_json
from pbkd.data.load import load_data
from pbkd.errors import ConfigError, DataError, ZooError
from pbkd.models.accuracy import accuracy
from pbkd.models.student_files import RECIPE, WEIGHTS, read_recipe
from pbkd.models.teacher import user_network_factory
from pbkd.models.weights import halved, read_weights, write_weights
from pbkd.pipeline.load import load
from pbkd.plugin.registry import build_registry
from pbkd.report.hub import hub_readme
from pbkd.runs.finished import read_finished
from pbkd.zoo.recipes import card_licence
from pbkd.zoo.store import CARD, README, find_student

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pbkd.core.results import RunResult
    from pbkd.plugin.registry import Registry


__all__ = ["enrol", "public_data", "reproducing_command", "without_paths"]

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
    result, config = read_finished(run).result, load_config(file=run / "config.yaml")
    name = name or re.sub(r"[:/]", "-", f"{config.teacher['name']}-student")
    _check_free(registry, zoo, name)
    card = _card(result, config)
    card |= {"name": name, "licence": licence or card_licence(registry, config.teacher)}
    stage = zoo / f".{name}.{os.getpid()}.partial"
    try:
        _write_student(run, stage, config, card, half=half)
        _write_card(stage, card)
        body = (run / "README.md").read_text("utf-8", errors="replace")
        body = without_paths(body.replace(result.command, card["command"]), config)
        readme = hub_readme(card, body, _half_note(card) if half else None)
        write_file(stage / README, readme.encode())
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


def _card(result: RunResult, config: RunConfig) -> dict[str, Any]:
    """Return what is known of a student from its run alone; its name and licence are not."""
    teacher, student = result.teacher, result.student
    replaced = sum(block.replaced for block in result.blocks)
    known = student.accuracy is not None
    accuracies = {
        "validation": result.validation.get("fine-tuned") if known else None,
        "test": student.accuracy,
    }
    return {
        "name": None,
        "summary": f"{teacher.name} with {replaced} of {len(result.blocks)} blocks replaced:"
        f" {100 * student.parameters / max(1, teacher.parameters):.0f} % of its parameters,"
        f" {100 * student.macs / max(1, teacher.macs):.0f} % of its MACs",
        "kind": "student",
        "licence": None,
        "teacher": {
            "name": teacher.name,
            "accuracy": {"test": teacher.accuracy} if known else {},
            "parameters": teacher.parameters,
            "macs": teacher.macs,
        },
        "data": public_data(config.data),
        "command": without_paths(reproducing_command(result.command, config), config),
        "accuracy": {split: share for split, share in accuracies.items() if share is not None},
        "parameters": student.parameters,
        "macs": student.macs,
    }


def _write_student(
    run: Path, stage: Path, config: RunConfig, card: dict[str, Any], *, half: bool
) -> None:
    """Write recipe and weights; rounded weights are measured again, where that can be done."""
    home = run / "student"
    read_recipe(home / RECIPE)
    recipe = read_json(home / RECIPE)
    recipe["plugins"] = [Path(plugin).name for plugin in recipe.get("plugins", [])]
    write_json(stage / RECIPE, recipe)
    weights = read_weights(home / WEIGHTS)
    if half:
        write_weights(stage / WEIGHTS, halved(weights))
        _remeasure(stage, config, card)
    else:
        write_file(stage / WEIGHTS, (home / WEIGHTS).read_bytes())


def _write_card(stage: Path, card: dict[str, Any]) -> None:
    card["sha256"] = hashlib.sha256((stage / WEIGHTS).read_bytes()).hexdigest()
    known = {key: value for key, value in card.items() if value is not None}
    text = yaml.safe_dump(known, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    write_file(stage / CARD, text.encode())


def _remeasure(stage: Path, config: RunConfig, card: dict[str, Any]) -> None:
    """Measure the accuracy of rounded weights, or record that it is not theirs."""
    make = user_network_factory(build_registry(config.plugins), config.teacher)
    student = load(stage, plugins=config.plugins, make=make)
    recipe = read_recipe(stage / RECIPE)
    device = pick_device("auto")
    try:
        data = load_data({key: value for key, value in config.data.items() if key != "download"})
    except (ConfigError, DataError):
        card["accuracy_note"] = _FULL_PRECISION
        return
    for split in ("validation", "test") if data.labelled else ():
        card["accuracy"][split] = accuracy(
            student.to(device),
            getattr(data, split),
            recipe.normalization,
            device=device,
        )


def _half_note(card: dict[str, Any]) -> str:
    if "accuracy_note" in card:
        return f"The weights are in half precision; accuracy was {card['accuracy_note']}."
    if "test" not in card["accuracy"]:
        return "The weights are in half precision; everything below was measured before that."
    return (
        "The weights are in half precision; with them the accuracy on the test split is"
        f" {100 * card['accuracy']['test']:.2f} %. Everything below was measured before that."
    )


# Of what was not on the command line, these have no part in what comes out.
_INCIDENTAL = ("out", "meters")


def reproducing_command(command: str, config: RunConfig) -> str:
    """Return the command of a run if it says everything, else one made from the configuration.

    One that resumes a run or reads a file of configuration does not, nor does a program that calls
    pbkd.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    elsewhere = [word for word in words if re.match(r"--resume|--config|-\w*c", word)]
    if (words[:2] == ["pbkd", "run"] or words[:3] == ["pbkd", "zoo", "compress"]) and not elsewhere:
        return command
    return shlex.join(["pbkd", "run", *_overrides(asdict(config), asdict(RunConfig()))])


def public_data(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return a choice of data with no more of its path than the last part."""
    data = {key: value for key, value in choice.items() if key != "download"}
    if "path" in data:
        data["path"] = Path(str(data["path"])).name
    return data


def without_paths(text: str, config: RunConfig) -> str:
    """Return text in which the files of a configuration stand without their folders."""
    named = [config.data.get("path"), config.teacher.get("weights"), config.out, *config.plugins]
    paths = {str(path) for path in named if path and Path(str(path)).expanduser().is_absolute()}
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, Path(path).name)
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _overrides(
    tree: Mapping[str, Any], preset: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Yield `key=value` for whatever is not as preset; a choice is its name, then its options."""
    for key, value in tree.items():
        if value == preset.get(key) or (not prefix and key in _INCIDENTAL):
            continue
        if not isinstance(value, dict):
            yield f"{prefix}{key}={_written(value)}"
        elif "name" in value:
            yield f"{prefix}{key}={_written(value['name'])}"
            options = {option: value[option] for option in value if option != "name"}
            yield from (f"{prefix}{key}.{o}={_written(given)}" for o, given in options.items())
        else:
            yield from _overrides(value, preset[key], f"{prefix}{key}.")


def _written(value: Any) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_/][\w./:-]*", value)
    if plain and value.lower() not in ("true", "false", "null", "yes", "no", "on", "off"):
        return str(value)
    return json.dumps(value)
