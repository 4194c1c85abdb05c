from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pbkd
from pbkd.models.weights import fingerprint
from tests.hub_stand_in import hub_stand_in

LOAD = """
import sys, pbkd
from pbkd.models.weights import fingerprint
print(fingerprint(pbkd.load(sys.argv[1])))
"""


@pytest.mark.slow
def test_another_process_finds_the_hub_by_its_variable_and_then_needs_none(
    added: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    folder = added(tmp_path, "pushed")
    with hub_stand_in(tmp_path / "unused") as hub:
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        hub.models["someone/small"].commit(files)
        settings = os.environ | {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home")}
        for offline in ("0", "1"):
            done = subprocess.run(
                [sys.executable, "-c", LOAD, "someone/small"],
                env=settings | {"HF_HUB_OFFLINE": offline},
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            assert (done.stdout.strip(), done.stderr) == (fingerprint(pbkd.load(folder)), "")
            hub.models.clear()
