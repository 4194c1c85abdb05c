"""Ctrl-C, SIGTERM and SIGHUP end a command with one sentence, whatever they interrupt."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from pbkd.cli.stop import Stopped, say_when_stopped, stoppable

if TYPE_CHECKING:
    from tests.command_line import Pbkd

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_one_sentence_and_its_exit_code(
    number: signal.Signals, pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object, **_options: object) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr("pbkd.pipeline.run.run", interrupted)
    before = [signal.getsignal(one) for one in SIGNALS]
    for verb in (["run"], ["zoo", "compress", "digits-vgg"]):
        ended = pbkd(*verb)
        assert ended == (128 + number, "", "pbkd: stopped; nothing was trained.\n")
    assert [signal.getsignal(one) for one in SIGNALS] == before


def raise_another() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except Stopped as error:  # as the import of an extension module does
        raise ImportError("initialization failed") from error


def swallow() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:  # as some libraries do
        return


class Dropped:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)  # Python prints and drops what a destructor raises


def stop_twice() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("interrupted", [raise_another, swallow, Dropped, stop_twice])
def test_no_code_can_turn_it_into_anything_else(
    interrupted: object, capfd: pytest.CaptureFixture[str]
) -> None:
    assert callable(interrupted)
    with pytest.raises(SystemExit) as ended, stoppable():
        say_when_stopped("stopped; all is well")
        interrupted()
    assert ended.value.code == 130
    assert capfd.readouterr().err == "pbkd: stopped; all is well.\n"


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stoppable():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
