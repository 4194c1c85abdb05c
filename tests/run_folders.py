"""Files of a run folder, changed as pbkd itself would write them: with their checksums."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pbkd.config.checksum_line import with_checksum
from pbkd.core.files import write_json

if TYPE_CHECKING:
    from pathlib import Path


def change(path: Path, old: str, new: str) -> None:
    """Replace text in `config.yaml`, or in a JSON file."""
    text = path.read_text().replace(old, new)
    if path.suffix == ".json":
        write_json(path, json.loads(text))
    else:
        path.write_text(with_checksum("\n".join(text.splitlines()[:-1]) + "\n"))
