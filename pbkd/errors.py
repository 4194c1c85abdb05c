"""One class for each kind of mistake a user can make; each message is one sentence."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = [
    "CacheError",
    "ChainError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "ExportError",
    "IdentityError",
    "MeterUnavailableError",
    "PbkdError",
    "PluginError",
    "RunFolderError",
    "ScheduleError",
    "TeacherError",
    "UnknownNameError",
    "WeightsError",
    "WorkerError",
    "ZooError",
    "did_you_mean",
    "one_line",
    "out_of_memory",
]

# What a plugin may raise. It is code of someone else's, and may even try to end the process.
PLUGIN_FAILURES = (Exception, SystemExit)


class PbkdError(Exception):
    """Anything a user can put right; the command line prints it without a traceback."""


class ConfigError(PbkdError):
    """A key, value or file of the configuration is not usable."""


class PluginError(PbkdError):
    """A plugin cannot be loaded, or breaks its contract."""


class UnknownNameError(PbkdError):
    """A name is not registered."""


class TeacherError(PbkdError):
    """The teacher does not fit the data, or was changed by the run."""


class WeightsError(PbkdError):
    """A file of weights is unreadable or belongs to another network."""


class DataError(PbkdError):
    """A data set is missing, too small or not what it says."""


class CacheError(PbkdError):
    """A cache of activations is damaged, unfinished or cannot be written."""


class ChainError(PbkdError):
    """A partitioner's chain does not compute what its teacher computes."""


class ScheduleError(PbkdError):
    """A scheduler drops, repeats or invents a block."""


class RunFolderError(PbkdError):
    """A run folder cannot be written, or holds no finished run."""


class CheckpointError(PbkdError):
    """A checkpoint is damaged or cannot be read."""


class IdentityError(PbkdError):
    """A run cannot be resumed with what would change its result."""


class WorkerError(PbkdError):
    """A worker ended before its jobs were done."""


class ExportError(PbkdError):
    """A student cannot be written in a format, or what was written gives other outputs."""


class ZooError(PbkdError):
    """A student cannot be put into a zoo folder, or what is there is not usable."""


class MeterUnavailableError(PbkdError):
    """An energy meter has no sensor here; the message says why."""


def one_line(error: BaseException) -> str:
    """Return an error as one line: a `PbkdError` by its message alone, any other with its type."""
    text = " ".join(str(error).split())
    if isinstance(error, PbkdError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'? Known: a, b, …" for an unknown `name`."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{hint} Known: {', '.join(names) or 'none'}."


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error is one of memory, of an accelerator's, of torch's on a CPU, of Python's.

    torch has a type for the first only.
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def first_line(error: Exception) -> str:
    """Return the first line of an omegaconf error; the rest repeats the key."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."
