"""The store of a phase's workers: a private file on one machine, torch's TCPStore on several."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from multiprocessing import process, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from pbkd.execution.remote.address import LOOPBACK, interface_with
from pbkd.execution.remote.secret import cluster_secret
from pbkd.execution.torchrun import on_one_machine, under_torchrun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch.distributed import Store  # type: ignore[attr-defined]


__all__ = ["STORE", "STORE_PREFIX", "open_store", "private_store", "read_key"]

STORE = "PBKD_STORE"
"""Variable with the path of the store's file, in the workers of one machine."""

STORE_PREFIX = "pbkd-store-"
"""Start of the names of folders that hold a store, in the temporary folder of multiprocessing."""

_KEY = "key"


@contextmanager
def private_store() -> Iterator[Mapping[str, str]]:
    """Make a store for workers on this machine that no other user can open.

    It is a file in a folder of mode 0700. The connections between the workers use the loopback
    interface, regardless of what the environment says.

    Yields:
        Environment variables for the workers, besides RANK and WORLD_SIZE.
    """
    interface = interface_with(LOOPBACK) or "lo"
    with tempfile.TemporaryDirectory(prefix=STORE_PREFIX, dir=_temporary_folder()) as folder:
        path = Path(folder, "store")
        path.touch(mode=0o600)
        dist.FileStore(str(path)).set(_KEY, secrets.token_hex(32))  # type: ignore[attr-defined]
        yield {
            STORE: str(path),
            "GLOO_SOCKET_IFNAME": interface,
            "NCCL_SOCKET_IFNAME": f"={interface}",
            "NCCL_RAS_ENABLE": "0",  # a service for other processes to inspect NCCL's
        }


def _temporary_folder() -> str:
    """Return the temporary folder of multiprocessing, which this process removes when it ends.

    So does its fork server (`pbkd.execution.fork_server`), since this process may be killed.
    multiprocessing's own removal would print a traceback where the fork server is first.
    """
    settings: dict[str, Any] = vars(process.current_process())["_config"]
    if settings.get("tempdir") is None:
        settings["tempdir"] = tempfile.mkdtemp(prefix="pymp-")
        arguments = settings["tempdir"], True  # ignore errors
        util.Finalize(None, shutil.rmtree, args=arguments, exitpriority=-100)
    return util.get_temp_dir()


def open_store() -> Store:
    """Open the store that all workers of the phase share.

    It is the file that PBKD_STORE names, or else the TCPStore of torch's environment variables.
    """
    if path := os.environ.get(STORE):
        store: Store = dist.FileStore(path)  # type: ignore[attr-defined]
    else:
        store, _, _ = next(iter(rendezvous("env://")))
    return store


def read_key() -> bytes:
    """Return the key by which workers recognise each other: the store's own, or the cluster's.

    Under launchers that have neither it is empty.
    """
    if STORE in os.environ:
        return bytes(open_store().get(_KEY))
    return cluster_secret(create=on_one_machine()) if under_torchrun() else b""
