"""Students in zoo folders, in the layout of the Hugging Face hub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.core.files import read_file, user_path
from pbkd.core.terminal_text import terminal_text
from pbkd.errors import HubError, RunFolderError, ZooError, did_you_mean
from pbkd.models.student_files import RECIPE, WEIGHTS
from pbkd.runs.curves import run_of
from pbkd.zoo.card import CARD, README, read_card
from pbkd.zoo.hub import fetch_card, fetch_student, read_hub_name
from pbkd.zoo.hub_calls import HubMissingError, HubUnreachableError, address

if TYPE_CHECKING:
    from pbkd.zoo.card import Card
    from pbkd.zoo.hub import HubName


__all__ = [
    "VARIABLE",
    "Entry",
    "describe_on_hub",
    "describe_student",
    "find_student",
    "named_folders",
    "resolve_student",
    "students",
    "zoo_folders",
]

VARIABLE = "PBKD_ZOO"


@dataclass(frozen=True)
class Entry:
    """A student in a zoo folder.

    Attributes:
        folder: The folder, whose name is the student's.
        card: Its card; None if the student is damaged.
        fault: Why it is damaged.
    """

    folder: Path
    card: Card | None
    fault: str | None = None

    @property
    def name(self) -> str:
        """The student's name, for `pbkd.load` and `pbkd zoo`."""
        return self.folder.name

    @property
    def weights(self) -> Path:
        """The weights file."""
        return self.folder / WEIGHTS


def named_folders() -> list[Path]:
    """Return the folders that the environment variable `PBKD_ZOO` names."""
    named = os.environ.get(VARIABLE, "").split(os.pathsep)
    return [user_path(folder) for folder in named if folder]


def zoo_folders() -> list[Path]:
    """Return the zoo folders: first the ones in `PBKD_ZOO`, then the one shipped with pbkd."""
    package = find_spec("pbkd_zoo")
    locations = package.submodule_search_locations if package else None
    shipped = [Path(location) / "students" for location in locations or ()]
    return [*named_folders(), *(folder for folder in shipped if folder.is_dir())]


def students() -> list[Entry]:
    """Return every student, damaged ones included; a name in an earlier folder takes precedence."""
    folders: dict[str, Path] = {}
    for zoo in zoo_folders():
        for folder in sorted(zoo.iterdir()) if zoo.is_dir() else ():
            if _holds_student(folder):
                folders.setdefault(folder.name, folder)
    return [_entry(folder) for folder in folders.values()]


def find_student(name: str) -> Entry | None:
    """Return the student called `name`; None if there is none."""
    folder = _folder_of(name)
    return _entry(folder) if folder else None


def resolve_student(where: str | Path) -> Path:
    """Return the folder of a run or a student.

    Args:
        where: A run folder, a curve's with a picked point, a student's folder, the name of a
            student in a zoo folder, or OWNER/NAME on the Hugging Face hub, which is not asked if
            there is a folder OWNER.

    Raises:
        RunFolderError: If there is no such folder and no such student.
        HubError: If the student cannot be fetched from the hub.
    """
    path, text = user_path(where), str(where)
    if path.exists():
        return run_of(path)
    if named := _folder_of(text):
        return named
    unknown = f"'{text}' is neither a folder nor a student of a zoo folder"
    name = None if path.parent.exists() else read_hub_name(text)
    if name is None:
        known = [entry.name for entry in students()]
        raise RunFolderError(f"{unknown}.{did_you_mean(text, known)}")
    try:
        return fetch_student(name)
    except (HubMissingError, HubUnreachableError) as error:
        raise HubError(f"{unknown}, and {error}") from error


def describe_student(entry: Entry) -> str:
    """Return a student's card and README as text; raise `ZooError` if it is damaged."""
    if entry.card is None:
        raise ZooError(f"the student '{entry.name}' is damaged: {entry.fault}")
    lines = [
        f"{entry.name}: {entry.card.summary or 'a student'}",
        f"folder: {entry.folder}",
        f"in Python: pbkd.load({entry.name!r})",
        *_cards(entry.folder),
    ]
    return terminal_text("\n".join(lines))


def describe_on_hub(name: HubName) -> str:
    """Return what the hub has of a student as text: its card and its README."""
    lines = [
        f"{name}: {address()}/{name.repository}",
        f"in Python: pbkd.load({str(name)!r})",
        *_cards(fetch_card(name)),
    ]
    return terminal_text("\n".join(lines))


def _cards(folder: Path) -> list[str]:
    """Return the lines of the card and the README in a folder, without the README's metadata."""
    lines = []
    if (folder / CARD).is_file():
        card = read_file(folder / CARD).decode(errors="replace")
        lines += ["card:", *("  " + line for line in card.splitlines())]
    if (folder / README).is_file():
        text = read_file(folder / README).decode(errors="replace")
        lines += ["", text.split("\n---\n", 1)[-1].strip()]
    return lines


def _folder_of(name: str) -> Path | None:
    if Path(name).name != name:
        return None
    return next((zoo / name for zoo in zoo_folders() if _holds_student(zoo / name)), None)


def _holds_student(folder: Path) -> bool:
    if folder.name.startswith("."):
        return False
    return any((folder / file).is_file() for file in (RECIPE, CARD))


def _entry(folder: Path) -> Entry:
    try:
        card = read_card(folder / CARD)
    except ZooError as error:
        return Entry(folder, None, str(error))
    for file in (RECIPE, WEIGHTS):
        if not (folder / file).is_file():
            return Entry(folder, None, f"there is no '{folder / file}'.")
    return Entry(folder, card)
