"""The documents, their examples and their tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Followed in an environment with nothing but the wheel, by tests/integration/test_wheel.py.
TUTORIAL = ROOT / "docs" / "write-a-plugin.md"
# Followed by tests/integration/execution/test_torchrun_launcher.py.
MACHINES = ROOT / "docs" / "machines.md"
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A command or a script of a document, with the output that the document shows for it."""

    language: str
    code: str
    output: str | None


def examples(document: Path) -> list[Example]:
    found: list[Example] = []
    for fence in FENCE.finditer(document.read_text()):
        language, code = fence["language"], fence["code"]
        assert language in ("sh", "python", "text"), f"{document.name} has a block of '{language}'"
        if language == "text":
            found[-1] = Example(found[-1].language, found[-1].code, code)
        else:
            found.append(Example(language, code, None))
    return found


def relative_name(document: Path) -> str:
    return str(document.relative_to(ROOT))


def table_rows(text: str) -> list[list[str]]:
    """Return the rows of every table, without heads, as cells without backquotes."""
    found = [
        [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    rules = [index for index, row in enumerate(found) if set("".join(row)) <= set("-|")]
    return [r for i, r in enumerate(found) if i not in rules and i + 1 not in rules]


def section_of(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def shown(value: Any) -> str:
    """Write a default as the documentation does."""
    if isinstance(value, dict):
        return str(value["name"])
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
