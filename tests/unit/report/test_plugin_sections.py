from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pbkd.cli import app
from pbkd.errors import PbkdError
from pbkd.report import Markup, element, join, table
from pbkd.report.markup_check import markup_fault
from pbkd.report.plugin_sections import render_sections
from pbkd.report.run_page import run_page
from tests.unit.report.pages import Page, record, section

WHO = f"the section 'mine' of the plugin '{__name__}'"
ATTACK = "</section><script>alert(1)</script><img src='http://x/y' onerror=alert(2)>"


def mine(content: Any, name: str = "mine", title: str = "My <section>") -> Any:
    def render(_self: object, run: Any) -> Any:
        return content(run) if callable(content) else content

    return type("Mine", (), {"name": name, "title": title, "render": render})()


def page(content: Any) -> str:
    written, faults = render_sections([mine(content)], record())
    assert faults == []
    return run_page(record(), written)


def test_text_is_escaped_and_markup_is_not() -> None:
    text = page(ATTACK)
    shown = section(text, "section-mine")
    assert shown.find("h2")[0].text == "My <section>"
    assert shown.find("p")[0].text == ATTACK
    assert len(Page(text).root.find("script")) == 1  # the page's own
    assert Page(text).root.find("img") == []
    rows: Any = [("a", ATTACK)]
    shown = section(page(join(element("h3", "x"), table(("k", "v"), rows))), "section-mine")
    assert shown.find("td")[0].text == ATTACK
    assert len(shown.find("table")) == 1


def test_a_section_reads_the_run_and_cannot_change_the_report() -> None:
    plain, seen = run_page(record()), []

    def meddling(run: Any) -> None:
        seen.append((run.name, run.plan.scheduler, len(run.plan.costs), run.configuration))
        run.result.environment.clear()
        run.baselines.clear()

    data = record()
    assert render_sections([mine(meddling)], data) == ([], [])  # None leaves it out
    assert run_page(data) == plain
    (read,) = seen
    assert data.plan is not None
    assert data.plan.table is not None
    assert read == (data.run.name, data.plan.scheduler, len(data.plan.table.costs), data.config)
    damaged = record(plan=None, config=None)
    assert render_sections([mine(lambda run: str(run.plan))], damaged)[1] == []


def raises(_: Any) -> Any:
    raise KeyError("no\nsuch key")


def exits(_: Any) -> Any:
    raise SystemExit("done")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (raises, r"failed in render (KeyError: 'no\nsuch key')"),
        (exits, "failed in render (SystemExit: done)"),
        (3, "returns int, not text from render"),
        (b"bytes", "returns bytes, not text from render"),
        ([Markup("<p></p>")], "returns list, not text from render"),
        (Markup("<div>"), "returns HTML whose <div> is not closed from render"),
        (Markup("</section>"), "returns HTML with </section> where none is open from render"),
    ],
)
def test_a_wrong_section_is_a_note_and_the_report_goes_on(content: Any, told: str) -> None:
    good = mine("fine", "good")
    written, faults = render_sections([mine(content), good], record())
    assert [each.heading for each in written] == ["My <section>"]
    assert faults == [f"{WHO} {told}: the report is without it."]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<p>a<br>b <b>c</b> &amp; 1 < 2 &</p><svg><path d='M0 0'/></svg>", None),
        ("<a href='https://example.org'>x</a><img src='data:image/png;base64,AA'>", None),
        ("<p><b></p></b>", "HTML with </p> where none is open"),
        ("<ul><li>a<li>b</ul>", "HTML with </ul> where none is open"),
        ("<p", "HTML that ends within a tag"),
        ("<p>a</p><!-- ", "HTML that ends within a tag"),
        ("<!-- x --><p></p>", "HTML with a comment"),
        ("<!doctype html>", "HTML with a declaration"),
        ("<?php ?>", "HTML with a declaration"),
        ("<script>1</script>", "HTML with <script>"),
        ("<style>p {}</style>", "HTML with <style>"),
        ("<IFRAME></IFRAME>", "HTML with <iframe>"),
        ("<p onclick='f()'></p>", "HTML with a script in 'onclick'"),
        ("<a href=' JavaScript:f()'></a>", "HTML with a script in 'href'"),
        ("<img src='http://x/y'>", "HTML that loads what 'src' names"),
        ("<img src='//x/y'>", "HTML that loads what 'src' names"),
        ("<svg><image xlink:href='x.png'/></svg>", "HTML that loads what 'xlink:href' names"),
    ],
)
def test_markup_is_closed_and_loads_nothing(text: str, fault: str | None) -> None:
    assert markup_fault(text) == fault


PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar
import pbkd
from pbkd.report import element

@dataclass(frozen=True)
class Best:
    name: ClassVar[str] = "best"
    title: ClassVar[str] = "Best block"
    most: int = 1

    def render(self, run):
        name = run.result.blocks[0].name
        return element("ol", *[element("li", name)] * self.most)

class Wrong:
    name, title = "wrong", "Wrong"
    def render(self, run):
        return run.result.no_such_figure

@pbkd.hookimpl
def register_sections():
    return [Best, Wrong]
"""


def test_the_command_adds_sections_and_tells_what_is_wrong(finished: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "my_sections.py", tmp_path / "run.html"
    file.write_text(PLUGIN)

    def report(*words: str) -> Any:
        named = ["report", str(finished), "--out", str(out)]
        return CliRunner().invoke(app, [*named, *words])

    assert report().output == f"written: {out}\n"
    plain = [part.attributes["id"] for part in Page(out.read_text()).root.find("section")]
    assert plain[2] == "classes"
    options = ["--option", "best.most=2", "--option", "classes.most_rows=3"]
    ended = report("--plugin", str(file), *options)
    assert ended.exit_code == 0, ended.output
    told = "pbkd: the section 'wrong' of the plugin 'my_sections.py' failed in render (AttributeErr"
    assert ended.output.startswith(told)
    text = out.read_text()
    sections = [part.attributes["id"] for part in Page(text).root.find("section")]
    assert sections == [*plain[:3], "section-best", *plain[3:]]
    assert len(section(text, "section-best").find("li")) == 2
    assert "'wrong'" in section(text, "notes").text
    assert "All 10 classes" in section(text, "classes").text
    for words, said in (
        (["--section", "clases"], "unknown section 'clases'. Did you mean 'classes'?"),
        (["--plugin", "vgg"], "--plugin vgg has no section of a report: omit it"),
        (["--option", "classes.most=3"], "unknown option 'classes.most'. Did you mean 'most_rows'"),
        (["--option", "best.most=3"], "--option best.most is no option of a section in the report"),
        (["--option", "most=3"], "--option most is no option of a section in the report"),
        (["--option", "classes.most_rows=many"], "'classes.most_rows'"),
        ([str(finished), "--section", "classes"], "belong to the report of one run"),
    ):
        refused = report(*words)
        assert isinstance(refused.exception, PbkdError)
        assert said in str(refused.exception)
