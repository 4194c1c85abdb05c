"""Pages of the site that are made from what is elsewhere: README, notebook, plugins, code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from mkdocs.structure.files import File

import pbkd

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file of `docs` holds, as mkdocs calls it."""
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
    """Return a page of the project's top folder with links that hold in the site."""
    text = re.sub(r"\]\(docs/decisions\)", "](decisions.md)", text)
    text = re.sub(r"\]\(docs/python\.ipynb\)", "](python.md)", text)
    text = re.sub(r"\]\(docs/", "](", text)
    text = re.sub(r"\]\(plugins\)", "](plugins.md)", text)
    text = re.sub(r"\]\(CONTRIBUTING\.md\)", "](contributing.md)", text)
    return re.sub(r"\[([^\]]+)\]\(LICENSE\)", r"\1", text)


def _notebook(path: Path) -> str:
    """Return a notebook's cells, with what they print, as a page."""
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
    """Return the READMEs of all built-in plugins, below one heading."""
    texts = (path.read_text("utf-8") for path in sorted((ROOT / "plugins").glob("*/README.md")))
    return "\n\n".join(["# Built-in plugins", *(re.sub(r"^#", "##", t, flags=re.M) for t in texts)])


def _command_line() -> str:
    """Return every command's help, as typer writes it."""
    command = [sys.executable, "-m", "typer", "pbkd.cli", "utils", "docs", "--name", "pbkd"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _python() -> str:
    """Return a page that has the docstring of every public name put in."""
    names = [f"::: pbkd.{pbkd._HOMES[name]}.{name}" for name in pbkd.__all__]
    return "\n\n".join(["# Python", *names])


def _decisions() -> str:
    """Return a list of the decisions."""
    lines = ["# Decisions", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = path.read_text("utf-8").splitlines()[0].removeprefix("# ")
        lines.append(f"- [{title}](decisions/{path.name})")
    return "\n".join(lines)
