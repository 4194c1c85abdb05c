"""Ctrl-C, SIGTERM and SIGHUP: an orderly end, one sentence, and exit code 128 + the signal.

This module is imported before all that takes time, and imports little itself.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress

TYPE_CHECKING = False  # `typing` would take longer to import than all the rest
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType
    from typing import Any


__all__ = ["Stopped", "say_when_stopped", "stoppable"]

_GRACE = 5.0  # seconds for an orderly end

_DEFAULTS: Mapping[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


class Stopped(BaseException):
    """A signal asks this process to end; raised in its main thread.

    Not a `KeyboardInterrupt`, which libraries catch to end in other ways.
    """


class _State:
    """What a command says when it is stopped, and which signal has stopped it."""

    sentence = "stopped"
    number = 0

    def __init__(self) -> None:
        self.ended = threading.Event()
        # The signals that nobody else handles or ignores.
        self.handled = [n for n, default in _DEFAULTS.items() if signal.getsignal(n) == default]

    def say(self) -> int:
        """Write the sentence; return the exit code."""
        with suppress(OSError, ValueError):  # the terminal may be gone
            sys.stdout.flush()
            sys.stderr.write(f"pbkd: {self.sentence}.\n")
            sys.stderr.flush()
        return 128 + self.number


_states: list[_State] = []


def say_when_stopped(sentence: str) -> None:
    """Set what this command says if a signal stops it from now on."""
    for state in _states:
        state.sentence = sentence


@contextmanager
def stoppable() -> Iterator[None]:
    """Handle signals that ask this process to end, within the context.

    During an import the process ends at once; else the first signal raises `Stopped` in the main
    thread. In any case the process ends with the sentence and the exit code: also if the code that
    is interrupted raises another error instead, or none, or does not end in 5 seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    state = _State()
    _states.append(state)
    try:
        with _signals_handled(state):
            yield
    except KeyboardInterrupt:
        state.number = state.number or signal.SIGINT
    except BaseException:
        if not state.number:
            raise
    finally:
        _states.remove(state)
        atexit.unregister(_end_without_words)
        atexit.register(_end_without_words)  # the last to be registered is the first to be called
    if state.number:
        raise SystemExit(state.say())


def _end_without_words() -> None:
    """Let Ctrl-C end a process whose command is done, while Python cleans up."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def _signals_handled(state: _State) -> Iterator[None]:
    hooks = sys.unraisablehook, threading.excepthook

    def stop(number: int, frame: FrameType | None) -> None:
        if not state.number:
            state.number = number
            if _is_importing(frame):
                os._exit(state.say())
            # Errors in destructors and threads that the end causes are no news.
            sys.unraisablehook = threading.excepthook = _ignore
            raise Stopped

    for number in state.handled:
        signal.signal(number, stop)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    try:
        threading.Thread(target=_end_late, args=(reader, state), daemon=True).start()
        yield
    finally:
        _restore_handlers(state, before)
        sys.unraisablehook, threading.excepthook = hooks
        state.ended.set()
        os.close(writer)


def _is_importing(frame: FrameType | None) -> bool:
    """Tell whether a module is being imported: some, such as torch, drop what is raised then."""
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


def _end_late(reader: int, state: _State) -> None:
    """End the process if its main thread does not, which may be blocked outside of Python."""
    while received := os.read(reader, 1):
        if received[0] in state.handled and not state.ended.wait(_GRACE):
            state.number = received[0]
            os._exit(state.say())
    os.close(reader)


def _restore_handlers(state: _State, wakeup: int = -1) -> None:
    signal.set_wakeup_fd(wakeup)
    for number in state.handled:
        signal.signal(number, _DEFAULTS[number])


def _ignore(*_arguments: object) -> None:
    pass


def _restore_in_child() -> None:
    """Give a forked process the default handlers, as a new program has them."""
    for state in _states:
        _restore_handlers(state)


os.register_at_fork(after_in_child=_restore_in_child)
