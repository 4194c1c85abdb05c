"""The errors that a user can cause or correct, and how errors are written.

Every message is one sentence that says what is wrong, where, and what to do.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BenchError",
    "CacheError",
    "ChainError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "ExportError",
    "HubError",
    "IdentityError",
    "MeterUnavailableError",
    "PbkdError",
    "PluginError",
    "RunFolderError",
    "ScheduleError",
    "TeacherError",
    "TrustError",
    "UnknownNameError",
    "WeightsError",
    "WorkerError",
    "ZooError",
    "did_you_mean",
    "is_out_of_memory",
    "one_line",
]

PLUGIN_FAILURES = (Exception, SystemExit)
"""What to catch around a plugin's code, which may even try to end the process."""


class PbkdError(Exception):
    """Base class of all errors that a user can correct; printed without a traceback."""


class ConfigError(PbkdError):
    """A key, a value or a file of the configuration is invalid."""


class PluginError(PbkdError):
    """A plugin cannot be loaded, or violates its protocol."""


class UnknownNameError(PbkdError):
    """No plugin, model or student is registered under a name."""


class TrustError(PbkdError):
    """A file names code that the user neither typed nor vouched for."""


class TeacherError(PbkdError):
    """The teacher does not match the data, or was modified during the run."""


class WeightsError(PbkdError):
    """A file of weights is unreadable or belongs to another network."""


class DataError(PbkdError):
    """A data set is missing, too small or invalid."""


class CacheError(PbkdError):
    """A cache of activations is damaged, incomplete or cannot be written."""


class ChainError(PbkdError):
    """A partitioner's chain does not compute the same function as the teacher."""


class ScheduleError(PbkdError):
    """A schedule omits, repeats or invents a block."""


class RunFolderError(PbkdError):
    """A run folder cannot be written, or does not hold a finished run."""


class CheckpointError(PbkdError):
    """A checkpoint is damaged or cannot be read."""


class IdentityError(PbkdError):
    """A run is resumed with a change that would change its result."""


class WorkerError(PbkdError):
    """A worker process ended before its jobs were done."""


class ExportError(PbkdError):
    """A student cannot be exported, or the exported model computes different outputs."""


class HubError(PbkdError):
    """A student cannot be pushed to the Hugging Face hub, or fetched from it."""


class ZooError(PbkdError):
    """A student cannot be added to a zoo folder, or an entry of it is invalid."""


class BenchError(PbkdError):
    """The figures of a benchmark contradict each other."""


class MeterUnavailableError(PbkdError):
    """An energy meter has no usable sensor on this machine; the message says why."""


def one_line(error: BaseException) -> str:
    """Write an error in one line: the message of a `PbkdError`, else type and message."""
    text = " ".join(str(error).split())
    if isinstance(error, PbkdError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, as a sentence.

    The further lines of omegaconf's messages repeat the key and the type.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest names for an unknown one.

    Args:
        name: The unknown name.
        known: All valid names.

    Returns:
        Text to append to a message: " Did you mean 'x'? Known: a, b, …".
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{hint} Known: {', '.join(names) or 'none'}."


_NO_MEMORY = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is a failed allocation: an accelerator's, torch's or Python's.

    torch has an exception type for most of an accelerator's; its libraries (cuDNN, cuBLAS), MPS and
    the CPU only say so in the message.
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY))
    )
