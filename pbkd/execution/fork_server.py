"""Imported by the fork server of workers, which removes their temporary files when it ends.

Python leaves that to the host, which cannot if it is killed.
"""

from __future__ import annotations

import atexit
import shutil
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

from pbkd.execution.store import STORE_PREFIX

__all__: list[str] = []


def _remove_temporary_files() -> None:
    server = vars(forkserver._forkserver)
    address = server.get("_forkserver_address")
    if not isinstance(address, str) or server.get("_forkserver_pid") is not None:
        return  # this process is none, or has one
    listener = Path(address)
    for store in listener.parent.glob(f"{STORE_PREFIX}*"):
        shutil.rmtree(store, ignore_errors=True)
    with suppress(OSError):
        listener.unlink(missing_ok=True)
        listener.parent.rmdir()


atexit.register(_remove_temporary_files)
