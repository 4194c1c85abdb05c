"""The secret that the processes of a run share, by which they recognise each other.

It never travels: both sides of a connection prove that they know it, see
`pbkd.execution.remote.handshake`.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import time
from pathlib import Path

from pbkd.errors import ConfigError

__all__ = ["VARIABLE", "cluster_secret", "secret_file"]

VARIABLE = "PBKD_SECRET"
"""Environment variable with the secret; it overrides the file."""

_MIN_LENGTH, _MAX_LENGTH = 32, 4096  # characters
_MIN_DIFFERENT = 8  # characters
_WRITE_SECONDS = 2.0  # in which another process that has created the file must have written it
_MAKE = "python -c 'import secrets; print(secrets.token_hex(32))'"


def cluster_secret(*, create: bool) -> bytes:
    """Return the secret of this user's runs.

    Args:
        create: Make the file if there is no secret, as is enough where all processes of the run
            are on this machine.

    Returns:
        The value of `PBKD_SECRET`, or else the content of `secret_file()`.

    Raises:
        ConfigError: There is none, it is too short, or others can read or replace the file.
    """
    if VARIABLE in os.environ:
        return _checked(os.fsencode(os.environ[VARIABLE]), f"the environment variable {VARIABLE}")
    path = secret_file()
    if create:
        _create(path)
    try:
        return _checked(_read(path), f"'{path}'")
    except FileNotFoundError as error:
        raise ConfigError(_how_to_share(path)) from error
    except OSError as error:
        raise ConfigError(
            f"the secret in '{path}' cannot be read ({error.strerror}): it must be a file of your"
            " own, no link."
        ) from error


def secret_file() -> Path:
    """Return the path of the file with the secret: `pbkd/secret` in `XDG_CONFIG_HOME`.

    Raises:
        ConfigError: This user has no home folder.
    """
    try:
        home = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f'this user has no home folder for the secret of its runs: set {VARIABLE}="$({_MAKE})".'
        ) from error
    return Path(home) / "pbkd" / "secret"


def _create(path: Path) -> None:
    """Write a new secret, unless there is a file already, even a damaged one."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.path.lexists(path):
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
    except FileExistsError:
        if not os.path.lexists(path):  # its folder is a file
            raise ConfigError(_cannot_write(path, "Not a directory")) from None
    except OSError as error:
        raise ConfigError(_cannot_write(path, error.strerror)) from error


def _cannot_write(path: Path, reason: str | None) -> str:
    return (
        f"the secret of this run cannot be written to '{path}' ({reason}): set"
        f' {VARIABLE}="$({_MAKE})".'
    )


def _read(path: Path) -> bytes:
    """Read the file, once the process that creates it has written it."""
    end = time.monotonic() + _WRITE_SECONDS
    while True:
        # Opened without following a link, and without waiting for the writer of a pipe.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(path, flags), "rb") as file:
            _check_access(path, os.fstat(file.fileno()))
            content = file.read(_MAX_LENGTH + 1)
        if content or time.monotonic() > end:
            return content
        time.sleep(0.05)


def _check_access(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"'{path}' must be a regular file with the secret of your runs.")
    if status.st_uid != os.geteuid():
        raise ConfigError(f"the secret in '{path}' belongs to another user: write one of your own.")
    folder = path.parent.stat()
    if folder.st_uid not in (os.geteuid(), 0) or folder.st_mode & 0o022:
        raise ConfigError(
            f"others can replace the secret in '{path.parent}': chmod 700 {path.parent}."
        )
    if status.st_mode & 0o077:
        raise ConfigError(
            f"others can read the secret in '{path}': make another one, by `rm {path}; (umask 077;"
            f" {_MAKE} > {path})`, and share it again."
        )


def _checked(content: bytes, where: str) -> bytes:
    secret = content.strip()
    if not _MIN_LENGTH <= len(secret) <= _MAX_LENGTH or len(set(secret)) < _MIN_DIFFERENT:
        raise ConfigError(
            f"the secret in {where} must be {_MIN_LENGTH} to {_MAX_LENGTH} random characters, as"
            f" `{_MAKE}` prints."
        )
    return secret


def _how_to_share(path: Path) -> str:
    """Return the error of a missing secret, with the command for this kind of cluster."""
    start = (
        f"{socket.gethostname()} has no secret by which the machines of this run recognise each"
        " other: "
    )
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return (
            f"{start}`kubectl create secret generic pbkd --from-literal=secret=$({_MAKE})`, and let"
            f" {VARIABLE} come from its key `secret` in every container (docs/machines.md)."
        )
    if "SLURM_JOB_ID" in os.environ:
        return f'{start}write `export {VARIABLE}="$({_MAKE})"` before `srun` in the job script.'
    return (
        f"{start}make one by `(umask 077; mkdir -p {path.parent}; {_MAKE} > {path})` and copy it to"
        f" every other HOST by `ssh HOST 'umask 077; mkdir -p {path.parent}; cat > {path}'"
        f" < {path}`."
    )
