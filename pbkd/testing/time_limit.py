"""A watchdog for code that may hang."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["within"]

T = TypeVar("T")


def within(seconds: float, work: Callable[[], T]) -> T:
    """Call a function in a thread of its own, and wait for it no longer than a limit.

    Args:
        seconds: The limit.
        work: The function; its thread goes on if it hangs, and ends with the process.

    Returns:
        What the function returned.

    Raises:
        TimeoutError: It did not return in time; the message says where it is.
        BaseException: What the function raised.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    def call() -> None:
        try:
            returned.append(work())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        where = _position(sys._current_frames().get(thread.ident or 0))
        raise TimeoutError(f"it did not return in {seconds:g} s{where}")
    if raised:
        raise raised[0]
    return returned[0]


def _position(frame: FrameType | None) -> str:
    """Say where a thread is: in a file that is neither pbkd's nor Python's own, if there is one."""
    if frame is None:
        return ""
    frames = [frame]
    while (frame := frame.f_back) is not None:
        frames.append(frame)
    found = next(filter(_is_plugin, frames), frames[0])
    return f": it is in {found.f_code.co_name}, {found.f_code.co_filename}:{found.f_lineno}"


def _is_plugin(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return name.startswith("pbkd.plugin.files.") or name.partition(".")[0] not in _OTHERS


_OTHERS = {"pbkd", "torch", *sys.stdlib_module_names}
