"""A student's README for the Hugging Face hub: YAML metadata, then the run's model card."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import yaml

from pbkd.core.terminal_text import terminal_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["hub_readme"]


_LICENCES = {
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "bsl-1.0", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
    "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "gfdl", "gpl", "gpl-2.0",
    "gpl-3.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl",
    "ncsa", "odbl", "odc-by", "ofl-1.1", "openrail", "osl-3.0", "pddl", "postgresql", "unlicense",
    "wtfpl", "zlib",
}  # fmt: skip
"""The licences that the hub knows by these names; each other one is `other` there."""


def hub_readme(
    card: Mapping[str, Any], body: str, note: str | None = None, name: str | None = None
) -> str:
    """Return a student's README for the hub.

    The metadata has the keys of the hub's model cards; leaderboards read `model-index`.

    Args:
        card: The student's zoo card.
        body: The model card of its run.
        note: A sentence to place before the body.
        name: OWNER/NAME on the hub; None if it is unknown.
    """
    about: dict[str, Any] = {"library_name": "pbkd"}
    about |= _licence(card.get("licence"))
    about |= {
        "pipeline_tag": "image-classification",
        "tags": ["pbkd", "image-classification", "knowledge-distillation", "model-compression"],
        "metrics": ["accuracy"],
        "model-index": [{"name": card["name"], "results": _results(card)}],
    }
    top = yaml.safe_dump(_in_lines(about), sort_keys=False, allow_unicode=True, width=sys.maxsize)
    where = f'"{name}"' if name else "FOLDER"
    use = (
        "A student of [blockwise distillation](https://arxiv.org/abs/2012.03096). With pbkd"
        f" installed, `pbkd.load({where})` returns it as a torch module, and"
        f" `pbkd.transform({where})` the preparation of its pictures, which `config.json` holds"
        " beside the names of the classes."
    )
    return "\n".join(filter(None, (f"---\n{top}---\n", f"{use}\n", note and f"{note}\n", body)))


def _licence(licence: str | None) -> dict[str, str]:
    """Return the metadata of a licence: the hub's names are mostly SPDX's in lower case."""
    if not licence:
        return {}
    name = "-".join(licence.lower().split())
    return {"license": name} if name in _LICENCES else {"license": "other", "license_name": name}


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
