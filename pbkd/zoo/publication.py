"""The student of a run as files for others: weights, recipe, card and README."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pbkd.config.load import load_config
from pbkd.core.devices import pick_device
from pbkd.core.files import file_digest, read_json, write_file, write_json
from pbkd.data.load import load_data
from pbkd.errors import ConfigError, DataError, PbkdError, TrustError, UnknownNameError, ZooError
from pbkd.models.accuracy import accuracy
from pbkd.models.student_files import NETWORK, RECIPE, WEIGHTS, read_recipe
from pbkd.models.weights import halved, read_weights, write_weights
from pbkd.pipeline.load import code_of_run, load_with_code
from pbkd.report.hub import hub_readme
from pbkd.report.markdown import markdown_code
from pbkd.runs.checksums import MODEL_CARD, check_files
from pbkd.runs.configuration import CONFIG
from pbkd.runs.finished import read_finished
from pbkd.zoo.card import CARD, README
from pbkd.zoo.provenance import public_data, reproducing_command, without_paths
from pbkd.zoo.recipes import card_licence

if TYPE_CHECKING:
    from pbkd.config.schema import RunConfig
    from pbkd.core.results import RunResult
    from pbkd.plugin.registry import Registry


__all__ = ["write_publication"]

_STUDENT = tuple(f"student/{file}" for file in (RECIPE, WEIGHTS, NETWORK))
_FULL_PRECISION = "measured before the weights were rounded to half precision"


def write_publication(
    registry: Registry,
    run: Path,
    folder: Path,
    name: str,
    *,
    licence: str | None = None,
    half: bool = False,
) -> None:
    """Write the student of a finished run into a new folder: recipe, weights, card and README.

    The folders of this machine are left out of them.

    Args:
        registry: Provides the zoo's models.
        run: The folder of the run.
        folder: The folder to write.
        name: Name of the student, or OWNER/NAME if it is for the Hugging Face hub.
        licence: Licence of the weights (default: the licence of the zoo's teacher, if it has one).
        half: Whether to round the weights to half precision. Accuracy is then measured again, if
            the run's data can be loaded.

    Raises:
        RunFolderError: If the run has not finished, or a file of it is damaged or was changed.
        ZooError: If the student cannot be loaded from the folder.
    """
    result = read_finished(run).result
    check_files(run, [CONFIG, MODEL_CARD, *_STUDENT])
    config = load_config(file=run / CONFIG)
    card = _card(result, config)
    owner, _, short = name.rpartition("/")
    card |= {"name": short, "licence": licence or card_licence(registry, config.teacher)}
    _write_student(run, folder, config, card, half=half)
    _check_loading(run, folder)
    _write_card(folder, card)
    body = (run / MODEL_CARD).read_text("utf-8")
    commands = markdown_code(result.command), markdown_code(card["command"])
    body = without_paths(body.replace(*commands), config)
    note = _half_note(card) if half else None
    readme = hub_readme(card, body, note, name if owner else None)
    write_file(folder / README, readme.encode())


def _card(result: RunResult, config: RunConfig) -> dict[str, Any]:
    """Return the fields of a student's card that come from its run; name and licence are None."""
    teacher, student = result.teacher, result.student
    replaced = sum(bool(block.replaced) for block in result.blocks)
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
    """Write recipe and weights; measure the accuracy of rounded weights again, if possible."""
    student = run / "student"
    read_recipe(student / RECIPE)
    recipe = read_json(student / RECIPE)
    if (student / NETWORK).is_file():
        write_json(stage / NETWORK, read_json(student / NETWORK))
    recipe["plugins"] = [Path(plugin).name for plugin in recipe.get("plugins", [])]
    write_json(stage / RECIPE, recipe)
    weights = read_weights(student / WEIGHTS)
    if half:
        write_weights(stage / WEIGHTS, halved(weights))
        _remeasure(run, stage, config, card)
    else:
        write_file(stage / WEIGHTS, (student / WEIGHTS).read_bytes())


def _check_loading(run: Path, stage: Path) -> None:
    """Load the student from its new folder, unless it needs code that may not run."""
    try:
        load_with_code(stage, code_of_run(run))
    except TrustError:
        return
    except PbkdError as error:
        raise ZooError(
            f"the student of '{run}' cannot be loaded, so it is not added: {error}"
        ) from error


def _write_card(stage: Path, card: dict[str, Any]) -> None:
    card["sha256"] = file_digest(stage / WEIGHTS)
    known = {key: value for key, value in card.items() if value is not None}
    text = yaml.safe_dump(known, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    write_file(stage / CARD, text.encode())


def _remeasure(run: Path, stage: Path, config: RunConfig, card: dict[str, Any]) -> None:
    """Measure the accuracy of rounded weights, or note that it was measured before rounding."""
    normalization = read_recipe(stage / RECIPE).normalization
    device = pick_device("auto")
    try:
        code = code_of_run(run)
        student = load_with_code(stage, code)  # its code may not run
        choice = {key: value for key, value in config.data.items() if key != "download"}
        data = load_data(choice, code.registry)
    except (ConfigError, DataError, TrustError, UnknownNameError):
        card["accuracy_note"] = _FULL_PRECISION
        return
    if not data.labelled or not normalization:
        return
    for split in ("validation", "test"):
        card["accuracy"][split] = accuracy(
            student.to(device), getattr(data, split), normalization, device=device
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
