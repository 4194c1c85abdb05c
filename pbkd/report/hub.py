"""A student's README for the Hugging Face hub: YAML metadata, then the run's model card."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import yaml

from pbkd.core.terminal_text import terminal_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["hub_readme"]


def hub_readme(card: Mapping[str, Any], body: str, note: str | None = None) -> str:
    """Return a student's README for the hub.

    The metadata has the keys of the hub's model cards; leaderboards read `model-index`.

    Args:
        card: The student's zoo card.
        body: The model card of its run.
        note: A sentence to place before the body.
    """
    about: dict[str, Any] = {"library_name": "pbkd"}
    if card.get("licence"):
        about["license"] = card["licence"].lower()  # the hub's identifiers are SPDX's in lower case
    about |= {
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "knowledge-distillation", "model-compression"],
        "model-index": [{"name": card["name"], "results": _results(card)}],
    }
    top = yaml.safe_dump(_in_lines(about), sort_keys=False, allow_unicode=True, width=sys.maxsize)
    use = (
        "A student of [blockwise distillation](https://arxiv.org/abs/2012.03096). With pbkd"
        " installed, `pbkd.load(FOLDER)` gives it back as a torch module from a folder with these"
        " files, and `pbkd.transform(FOLDER)` the preparation of its pictures, which `config.json`"
        " holds beside the names of the classes."
    )
    return "\n".join(filter(None, (f"---\n{top}---\n", f"{use}\n", note and f"{note}\n", body)))


def _in_lines(tree: Any) -> Any:
    """Return a tree whose texts are on one line each: a line of `---` would end the metadata."""
    match tree:
        case dict():
            return {_in_lines(key): _in_lines(value) for key, value in tree.items()}
        case list():
            return list(map(_in_lines, tree))
        case str():
            return " ".join(terminal_text(tree).split())
    return tree


def _results(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    data, note = card["data"]["name"], card.get("accuracy_note")
    return [
        {
            "task": {"type": "image-classification", "name": "Image Classification"},
            "dataset": {"type": data, "name": data, "split": split},
            "metrics": [
                {
                    "type": "accuracy",
                    "value": value,
                    "name": f"Accuracy ({note})" if note else "Accuracy",
                }
            ],
        }
        for split, value in card["accuracy"].items()
    ]
