"""Names, notes and errors cannot control a terminal, a document or a spreadsheet."""

from __future__ import annotations

import csv
import io
import logging
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbkd.core.events import EpochDone, Note, PhaseStarted
from pbkd.core.terminal_text import clean_stream, terminal_text
from pbkd.report.console.display import open_console, print_table, print_wide
from pbkd.report.console.show import shown
from pbkd.report.csv_text import csv_text
from pbkd.report.markdown import markdown_text
from pbkd.report.markup import element

if TYPE_CHECKING:
    from tests.command_line import Pbkd

HOSTILE = {
    "colour": "\x1b[31m",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;https://example.org\x1b\\",
    "eight bits": "\x9b2J\x9d0;owned\x9c",
    "overwrite": "\r\b\x7f\x0b\x0c",
    "answer": "\x05\x1bP$q\x1b\\",
    "bidirectional": "\u202e\u2066\u2069\u200f\u061c",
    "invisible": "\u200b\u2060\ufeff\u00ad\U000e0041",
    "lines": "\u2028\u2029\x85",
    "half": "\udcff\ud800",
}
EVERYTHING = "".join(HOSTILE.values())


def is_clean(text: str) -> bool:
    return all(char.isprintable() or char in "\n\t" for char in text)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    opened = Terminal()
    monkeypatch.setattr("sys.stdout", opened)
    monkeypatch.setattr("sys.stderr", opened)
    monkeypatch.setenv("TERM", "xterm-256color")
    return opened


@given(st.text(st.characters(categories=None)))
def test_any_text_is_clean_and_printable_text_stays(text: str) -> None:
    assert is_clean(terminal_text(text))
    printable = "".join(char for char in text if char.isprintable() or char in "\n\t")
    assert terminal_text(printable) == printable


@pytest.mark.parametrize("name", HOSTILE)
def test_both_streams_are_clean_for_everything_that_writes_to_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", clean_stream(out))
    monkeypatch.setattr("sys.stderr", clean_stream(out))
    text = HOSTILE[name]
    print(text, "printed", sep=text, end=text)
    sys.stderr.writelines([text, "written"])
    logging.StreamHandler().emit(logging.makeLogRecord({"msg": f"logged {text}"}))
    assert is_clean(out.getvalue())
    assert all(word in out.getvalue() for word in ("printed", "written", "logged"))


def test_a_stream_that_knows_few_characters_takes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", clean_stream(io.TextIOWrapper(raw, encoding="ascii")))
    print("é", "\udcff")
    sys.stdout.flush()
    assert raw.getvalue() == b"\\xe9 \\ufffd\n"
    assert clean_stream(sys.stdout) is sys.stdout


@pytest.mark.parametrize("name", HOSTILE)
def test_consoles_are_clean_and_interpret_no_markup(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = open_terminal(monkeypatch)
    text = f"[red]{HOSTILE[name]}:smile: [link=https://example.org]x[/link]"
    console = open_console()
    console.print(text)
    print_table(console, (text,), [(text,)], left={0})
    print_wide((text,), [(text,)], left=1)
    written = terminal.getvalue()
    for code in ("\x1b[1m", "\x1b[0m"):  # a table's heads are bold
        written = written.replace(code, "")
    assert is_clean(written)
    assert written.count("[red]") == written.count("x[/link]") == 5


def test_live_rows_show_names_and_prints_of_plugins_clean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = open_terminal(monkeypatch)
    with shown() as emit:
        emit(PhaseStarted(phase="teacher-fed"))
        print(f"printed {EVERYTHING}")
        sys.stderr.write(f"written {EVERYTHING}\n")
        emit(Note(text=f"noted {EVERYTHING}"))
        emit(EpochDone(phase=EVERYTHING, worker=None, block="b", epoch=1, loss=0.5, accuracy=0.5))
    written = terminal.getvalue()
    assert all(word in written for word in ("printed", "written", "noted", "teacher-fed"))
    assert not set(EVERYTHING) & set(written) - {"\x1b", "\r", *terminal_text(EVERYTHING)}
    assert "\x1b]" not in written
    assert "\x1b[31m" not in written
    assert "\x1bP" not in written


def test_events_as_json_are_ascii_without_controls(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout", clean_stream(sys.stdout))
    monkeypatch.setattr("sys.stderr", clean_stream(sys.stderr))
    with shown(as_json=True) as emit:
        emit(Note(text=EVERYTHING))
        print("meanwhile", EVERYTHING)
    out, err = capsys.readouterr()
    assert is_clean(out)
    assert out.isascii()
    assert "meanwhile" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "{}"], ["report", "{}"], ["export", "{}"], ["watch", "{}"], ["compare", "{}"],
        ["plan", "--costs", "{}"], ["run", "--config", "{}"], ["run", "--plugin", "{}"],
        ["run", "teacher={}"], ["run", "seed={}"], ["run", "{}=1"], ["run", "distill.{}=1"],
        ["zoo", "show", "{}"], ["plugins", "show", "{}"], ["run", "--no{}"], ["[red]{}"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_whatever_is_named_on_the_command_line_is_shown_clean(
    arguments: list[str], pbkd: Pbkd
) -> None:
    ended = pbkd(*(argument.format(EVERYTHING) for argument in arguments))
    assert ended.code == 2
    assert is_clean(ended.out + ended.err)


def test_a_mistake_of_a_megabyte_is_cut(pbkd: Pbkd) -> None:
    assert len(pbkd("run", "x" * 2**20).err) < 5000


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t=", "\r=", " =", '"=', "'-", "\uff1d", "\ufeff=", "\n+"]
)
def test_no_cell_of_a_csv_file_is_a_formula(start: str) -> None:
    ((cell,),) = csv.reader(io.StringIO(csv_text([[f"{start}1+cmd|' /C calc'!A0"]])))
    assert cell.startswith("'")
    assert is_clean(cell)


def test_numbers_of_a_csv_file_stay_numbers() -> None:
    row = [-1, -1.5, None, "-0.25 +0.5", "+7 %", "1e-3", "-inf", "vgg-16", "a=b", "-"]
    assert csv_text([row]) == "-1,-1.5,,-0.25 +0.5,+7 %,1e-3,-inf,vgg-16,a=b,'-\n"


def test_markdown_has_neither_links_nor_elements() -> None:
    hostile = "![a](http://x) <b> [x][y] `c` | *d* _e_ ~~f~~ a_b &lt; \n# head"
    assert markdown_text(hostile) == (
        r"!\[a\](http\://x) \<b\> \[x\]\[y\] \`c\` \| \*d\* \_e\_ \~\~f\~\~ a_b &amp;lt; # head"
    )
    assert [markdown_text(start) for start in ("# a", "- a", "1. a", "conv3_1")] == [
        r"\# a", r"\- a", r"1\. a", "conv3_1",
    ]  # fmt: skip


def test_html_has_no_controls_and_no_elements() -> None:
    assert element("p", f"<b>{EVERYTHING}") == element("p", f"<b>{terminal_text(EVERYTHING)}")
    assert is_clean(element("p", EVERYTHING, title=EVERYTHING))
