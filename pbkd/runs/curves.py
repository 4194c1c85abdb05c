"""The folder of a curve: `points` with a run folder for each point, and its result."""

from __future__ import annotations

import shutil
from pathlib import Path

from pbkd.core.curves import CurveResult
from pbkd.core.files import write_json
from pbkd.core.plausible_numbers import is_plausible
from pbkd.core.records import read_record
from pbkd.errors import RunFolderError

__all__ = [
    "is_finished_curve",
    "pick_point",
    "point_folder",
    "point_folders",
    "read_curve",
    "run_of",
    "share_files",
    "write_curve",
]

_SHARED = ("initial", "teacher-fed", "retry", "scores.json", "plan.json", "costs.json")
_POINTS, _RESULT, _PICKED = "points", "curve.json", "picked.json"


def point_folder(folder: Path, name: str) -> Path:
    """Return the run folder of a point of a curve, which need not be there."""
    return folder / _POINTS / name


def point_folders(folder: Path) -> dict[str, Path]:
    """Return the run folders of the points that are there, by name, the largest student first."""
    found = {path.name: path for path in (folder / _POINTS).glob("[0-9]*") if path.is_dir()}
    return {name: found[name] for name in sorted(found, key=_share, reverse=True)}


def _share(name: str) -> float:
    try:
        return float(name)
    except ValueError:
        return 0.0


def share_files(folder: Path, point: Path) -> None:
    """Give a new run folder what a curve has trained and scored, by hard links where they work.

    pbkd writes no file in place but the events, which are copied.

    Raises:
        OSError: A file cannot be written.
    """
    point.mkdir(parents=True)
    for name in _SHARED:
        if (folder / name).is_dir():
            shutil.copytree(folder / name, point / name, copy_function=_link)
        elif (folder / name).is_file():
            _link(folder / name, point / name)
    shutil.copytree(folder / "events", point / "events")


def _link(source: Path | str, target: Path | str) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:  # the file system has no hard links
        shutil.copy2(source, target)


def is_finished_curve(folder: Path) -> bool:
    """Return whether a curve has finished in a folder."""
    return (folder / _RESULT).is_file()


def write_curve(folder: Path, result: CurveResult) -> None:
    """Write `curve.json`, which shows that the curve is finished."""
    write_json(folder / _RESULT, result.to_dict())


def read_curve(folder: Path) -> CurveResult:
    """Read the result of a curve, which may be untrusted.

    Raises:
        RunFolderError: No curve has finished in `folder`, or the file is damaged.
    """
    path = folder / _RESULT
    if not path.is_file():
        raise RunFolderError(f"'{folder}' holds no finished curve: name the folder of one.")
    result: CurveResult = read_record(path, CurveResult, "a curve")
    names = [point.name for point in result.students]  # of folders, so that each is a number
    if not is_plausible("curve", result) or not names or not all(map(_share, names)):
        raise RunFolderError(f"'{path}' is not a curve of this version of pbkd.")
    return result


def pick_point(folder: Path, name: str) -> Path:
    """Let the curve's folder stand for the student of a point, and return its run folder.

    Args:
        folder: The folder of a finished curve.
        name: The point, as the table of the curve has it; other ways to write its number will do.

    Raises:
        RunFolderError: There is no such point, or no finished curve.
    """
    names = [point.name for point in read_curve(folder).students]
    picked = next((known for known in names if _share(known) == _share(name)), None)
    if picked is None:
        raise RunFolderError(f"'{folder}' has no point {name}: its points are {', '.join(names)}.")
    write_json(folder / _PICKED, {"point": picked})
    return point_folder(folder, picked)


def run_of(folder: Path) -> Path:
    """Return the run folder that a folder stands for: of a curve, the picked point's.

    Raises:
        RunFolderError: It is a finished curve of which no point was picked.
    """
    if not is_finished_curve(folder):
        return folder
    names = [point.name for point in read_curve(folder).students]
    if not (folder / _PICKED).is_file():
        raise RunFolderError(
            f"'{folder}' is a curve: pick a point by `pbkd pick FOLDER POINT`, of"
            f" {', '.join(names)}, or name its folder, such as '{point_folder(folder, names[0])}'."
        )
    record: dict[str, str] = read_record(folder / _PICKED, dict[str, str], "a picked point")
    if record.get("point") not in names:
        raise RunFolderError(f"'{folder / _PICKED}' names no point of the curve: pick one again.")
    return point_folder(folder, record["point"])
