"""Generated pages of the site: README, notebook, plugins, command line, Python, decisions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from mkdocs.structure.files import File

import pbkd
import pbkd.core.results
import pbkd.errors
import pbkd.execution
import pbkd.protocols

if TYPE_CHECKING:
    from types import ModuleType

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, as mkdocs calls it."""
    pages = {
        "index.md": _moved((ROOT / "README.md").read_text("utf-8")),
        "contributing.md": _moved((ROOT / "CONTRIBUTING.md").read_text("utf-8")),
        "python.md": _notebook(ROOT / "docs" / "python.ipynb"),
        "plugins.md": _plugins(),
        "cli.md": _command_line(),
        "api.md": _python(),
        "decisions.md": _decisions(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def _moved(text: str) -> str:
    """Return a page of the project's root with its links changed to pages of the site."""
    text = re.sub(r"\]\(docs/decisions\)", "](decisions.md)", text)
    text = re.sub(r"\]\(docs/python\.ipynb\)", "](python.md)", text)
    text = re.sub(r"\]\(docs/", "](", text)
    text = re.sub(r"\]\(plugins\)", "](plugins.md)", text)
    text = re.sub(r"\]\(CONTRIBUTING\.md\)", "](contributing.md)", text)
    return re.sub(r"\[([^\]]+)\]\(LICENSE\)", r"\1", text)


def _notebook(path: Path) -> str:
    """Return a notebook's cells and their output as a page."""
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        shown = [output.get("text") or output.get("data", {}).get("text/plain", "")
                 for output in cell.outputs]  # fmt: skip
        if any(shown):
            parts.append(f"```text\n{''.join(shown).rstrip()}\n```")
    return "\n\n".join(parts)


def _plugins() -> str:
    """Return the READMEs of all built-in plugins as one page."""
    texts = (path.read_text("utf-8") for path in sorted((ROOT / "plugins").glob("*/README.md")))
    return "\n\n".join(["# Built-in plugins", *(re.sub(r"^#", "##", t, flags=re.M) for t in texts)])


def _command_line() -> str:
    """Return the help of every command, as typer writes it."""
    command = [
        sys.executable,
        "-m",
        "typer",
        "pbkd.cli.commands",
        "utils",
        "docs",
        "--name",
        "pbkd",
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _python() -> str:
    """Return the page of the Python interface: a section for each group of names."""
    public = [f"pbkd.{name}" for name in pbkd.__all__]
    protocols = [name for name in _classes(pbkd.protocols) if f"pbkd.{_last(name)}" not in public]
    sections = {
        "Functions and types of `pbkd`": public,
        "Further types of a schedule": ["pbkd.core.schedule.Stage"],
        "Types in a result": [
            name for name in _classes(pbkd.core.results) if f"pbkd.{_last(name)}" not in public
        ],
        "Protocols of plugins": protocols,
        "Interface for launchers": [f"pbkd.execution.{name}" for name in pbkd.execution.__all__],
        "Errors": _classes(pbkd.errors),
    }
    parts = ["# Python"]
    for title, names in sections.items():
        parts += [
            f"## {title}",
            *(f"::: {name}\n    options: {{heading_level: 3}}" for name in names),
        ]
    return "\n\n".join(parts)


def _classes(module: ModuleType) -> list[str]:
    """Return the full names of the public classes that a module defines, in its order."""
    name = module.__name__
    members = (value for value in vars(module).values() if isinstance(value, type))
    return [
        f"{name}.{member.__name__}"
        for member in members
        if member.__module__ == name and not member.__name__.startswith("_")
    ]


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _decisions() -> str:
    """Return a table of the decisions with their status and date."""
    lines = ["# Decisions", "", "| decision | status | date |", "|---|---|---|"]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        text = path.read_text("utf-8")
        title = text.splitlines()[0].removeprefix("# ")
        about = dict(re.findall(r"^(Status|Date): (.+?) *$", text, re.MULTILINE))
        link = f"[{title}](decisions/{path.name})"
        lines.append(f"| {link} | {about['Status']} | {about['Date']} |")
    return "\n".join(lines)
