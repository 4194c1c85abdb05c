"""What takes the place of an installation: the paths of the checkout, and its entry points.

Run as a program, with a folder as its argument, it writes the entry points there and prints the
paths for PYTHONPATH; or it says in one line which packages this Python lacks, and ends with 3.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LEAST_TORCH = (2, 6)


def missing_packages() -> list[str]:
    """List the packages that pbkd needs and this Python lacks, as pyproject.toml names them."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (listed,) = re.findall(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    return [name for name in re.findall(r'"([\w-]+)', listed) if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        found = version(name)
    except PackageNotFoundError:
        return False
    return name != "torch" or tuple(map(int, re.findall(r"\d+", found)[:2])) >= _LEAST_TORCH


def write_entry_points(site: Path) -> None:
    """Write the metadata of a distribution `pbkd` with the entry points of its plugins."""
    found = re.search(r'"(.+)"', (ROOT / "pbkd/_version.py").read_text("utf-8"))
    assert found, "the file holds the version"
    folder = site / f"pbkd-{found[1]}.dist-info"
    folder.mkdir(parents=True)
    about = f"Metadata-Version: 2.1\nName: pbkd\nVersion: {found[1]}\n"
    (folder / "METADATA").write_text(about, "utf-8")
    points = ["zoo = pbkd_zoo"]
    for project in sorted(ROOT.glob("plugins/pbkd-*/pyproject.toml")):
        text = project.read_text("utf-8")
        if not re.search(r"^on-demand = true", text, re.MULTILINE):
            points += re.findall(r'^([\w-]+ = )"(\w+)"', _section(text), re.MULTILINE)
    lines = [point if isinstance(point, str) else "".join(point) for point in points]
    (folder / "entry_points.txt").write_text("\n".join(["[pbkd]", *lines, ""]), "utf-8")


def _section(text: str) -> str:
    """Return the lines below `[project.entry-points.pbkd]`."""
    return text.partition("[project.entry-points.pbkd]\n")[2].partition("\n[")[0]


def paths(site: Path) -> list[str]:
    """List what PYTHONPATH must hold."""
    plugins = sorted(path.parent for path in ROOT.glob("plugins/pbkd-*/pyproject.toml"))
    return list(map(str, (site, ROOT, ROOT / "zoo", *plugins)))


if __name__ == "__main__":
    if lacking := missing_packages():
        print(
            f"{sys.executable} lacks {', '.join(lacking)}: put a folder that has them on"
            " PYTHONPATH, or name another Python by PYTHON.",
            file=sys.stderr,
        )
        sys.exit(3)
    write_entry_points(Path(sys.argv[1]))
    print(":".join(paths(Path(sys.argv[1]))))
