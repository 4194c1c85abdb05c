"""Hostile names in cards: each is shown as it is, and is no link, picture, element or heading."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
import yaml
from markdown_it import MarkdownIt

from pbkd.config.schema import RunConfig
from pbkd.core.blocks import BlockCost
from pbkd.core.results import PhaseResult
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.terminal_text import terminal_text
from pbkd.core.workload import Workload
from pbkd.planning.timeline import timeline
from pbkd.report.card import card
from pbkd.report.gantt import gantt_svg
from pbkd.report.hub import hub_readme
from pbkd.report.markdown import markdown_code, markdown_table, markdown_text
from pbkd.zoo.provenance import without_paths
from tests.unit.report.test_card import result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

    from pbkd.core.results import RunResult

TEXTS = (
    "<script>alert(1)</script>",
    "<img src=http://evil.example/x.png onerror=alert(1)>",
    "</td></table><iframe src=//evil.example>",
    "![picture](http://evil.example/x.png)",
    "[![x](http://evil.example/y.png)](http://evil.example)",
    "[click](javascript:alert(1))",
    "[click](<data:text/html;base64,PHNjcmlwdD4=> 'title')",
    "[click][1] [1]: http://evil.example",
    "[1]: http://evil.example 'title'",
    "<javascript:alert(1)> <http://evil.example> <a@evil.example>",
    "https://evil.example/a?b=c&d",
    "HTTP://EVIL.EXAMPLE www.evil.example",
    "a | b | c",
    "\\| a \\",
    "\\\\| a \\\\",
    "`code` ``` ~~~ ``x``",
    "a\n```\n<script>alert(1)</script>\n```\nb",
    "a\n\n# heading\n\nb",
    "a\n---\nb: c",
    "a\n===\nb",
    "\n\n| a | b |\n|---|---|\n| c | d |\n",
    "# a", "- a", "* a", "+ a", "> a", "1. a", "1) a", "---", "***", "___", "===", "    a", "\ta",
    "**bold** __bold__ *it* _it_ ~~gone~~ ~gone~",
    "&lt;script&gt; &#60;b&#62; &nbsp; &amp;",
    "$x$ $$y$$ \\(z\\) \\[w\\]",
    "<!-- hidden", "<?php ?>", "<![CDATA[x]]>", "<!DOCTYPE html>",
    "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07 \u202egnp.exe \u2028x",
    "{{ x }} {% x %} ${x}",
    "conv_1.weight_", "_a_b_", "a*b", "50 % < 60 %", "-0.5", "C:\\models\\a", "ä 中文 😀",
)  # fmt: skip


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a Markdown document with HTML, tables and struck out text."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for token in parser.parse(text):
        yield token
        yield from token.children or ()


def kinds(text: str) -> Counter[str]:
    """Count the tokens of a document by kind, but for those within a line."""
    return Counter(token.type for token in tokens(text) if token.block)


def shown(text: str) -> list[str]:
    """Return what a reader sees of every line, cell and block of code."""
    inline = [token for token in tokens(text) if token.type in ("inline", "fence")]
    return [
        "".join(child.content for child in token.children or ())
        if token.children
        else token.content
        for token in inline
    ]


def seen(text: str) -> str:
    return " ".join(terminal_text(text).split())


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_text_is_shown_as_it_is(text: str) -> None:
    for document in (markdown_text(text), f"- {markdown_text(text)}", f"# {markdown_text(text)}"):
        assert shown(document) == [seen(text)]
        assert not {token.type for token in tokens(document)} & {"image", "link_open"}
        assert not [token for token in tokens(document) if token.type.startswith("html")]
    table = markdown_table(("a", text), [(text, "b"), ("c", text)])
    assert shown(table) == ["a", seen(text), seen(text), "b", "c", seen(text)]
    assert not re.search(r"(?<!\\)://|www\.", markdown_text(text), re.IGNORECASE)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_code_ends_where_it_ends(text: str) -> None:
    (code,) = tokens(markdown_code(text))
    assert (code.type, code.content) == ("fence", f"{terminal_text(text)}\n")


def hostile(text: str) -> RunResult:
    """Return a run in which everything that a file or a plugin names is this text."""
    whole = result()
    return replace(
        whole,
        command=text,
        teacher=replace(whole.teacher, name=text),
        student=replace(whole.student, name=text),
        accuracies={text: 0.5},
        blocks=tuple(
            replace(block, name=text, reason=text, builder={"name": text, text: text})
            for block in whole.blocks
        ),
        phases=(PhaseResult(text, 1.0, 1.0, {text: 1.0}, text),),
        notes=(text, text),
        environment={text: text},
        preparation=(text, text),
        class_names=(text, text),
    )


def test_a_card_of_hostile_names_has_the_parts_of_any_card() -> None:
    wanted = kinds(card(hostile("conv1")))
    for text in TEXTS:
        found = card(hostile(text))
        assert kinds(found) == wanted, text
        assert shown(found).count(seen(text)) >= 5


@pytest.mark.parametrize("text", [text for text in TEXTS if seen(text)])
def test_the_metadata_for_the_hub_ends_where_it_ends(text: str) -> None:
    zoo_card: dict[str, Any] = {
        "name": text,
        "licence": text,
        "data": {"name": text},
        "accuracy": {"test": 0.5, text: 0.25},
        "accuracy_note": text,
    }
    readme = hub_readme(zoo_card, "# body\n", None)
    start, top, rest = readme.split("---\n", 2)
    assert start == ""
    data = yaml.safe_load(top)
    assert set(data) == {
        "library_name", "license", "license_name", "metrics", "model-index", "pipeline_tag", "tags",
    }  # fmt: skip
    assert data["license_name"] == "-".join(seen(text).lower().split())
    (model,) = data["model-index"]
    assert model["name"] == seen(text)
    assert [one["dataset"]["name"] for one in model["results"]] == [seen(text)] * 2
    assert rest.startswith("\nA student of [blockwise distillation]")


def test_paths_are_removed_where_markdown_writes_them_differently() -> None:
    path = "/srv/my_[secret]_data/*a*.npz"
    config = RunConfig(data={"name": "npz", "path": path})
    text = f"{markdown_text(f'Left out {path}.')}\n{markdown_code(path)}"
    assert "srv" not in without_paths(text, config)
    assert shown(without_paths(text, config)) == ["Left out *a*.npz.", "*a*.npz\n"]


def test_a_chart_of_hostile_names_has_text_and_shapes_alone() -> None:
    for text in TEXTS:
        name = terminal_text(text)
        bars = timeline(
            Schedule(((Job((name,)),),)),
            [BlockCost(name, 0.1, 0.1, 0.1)],
            [Worker(0)],
            Workload(2, 1),
        )
        drawn = list(ElementTree.fromstring(gantt_svg(bars, 1, [name], 1.0, text, text)).iter())
        tags = {one.tag.rpartition("}")[2] for one in drawn}
        assert tags <= {"svg", "title", "desc", "style", "rect", "text", "path"}, text
        assert not [key for one in drawn for key in one.attrib if key.startswith(("on", "href"))]
        assert "".join(drawn[1].itertext()) == name
