"""The documentation as a site: built strictly, and looked at in a browser."""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = ("index", "concepts", "config", "api", "cli", "plugins", "python", "results", "bench")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the site; a link that leads nowhere fails the build."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    with ThreadingHTTPServer(("localhost", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_asks_for_nothing_from_elsewhere_and_complains_of_nothing(
    page: str, site: str, opened: Any, tmp_path: Path
) -> None:
    for width in (375, 1440):
        opened.set_viewport_size({"width": width, "height": 800})
        opened.goto(f"{site}/{page}.html")
        assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        opened.screenshot(path=tmp_path / f"{page}-{width}.png")  # for eyes
    pictures = opened.eval_on_selector_all(
        "article img", "all => all.map(i => i.complete && i.naturalWidth > 0)"
    )
    assert all(pictures)
    assert [asked for asked in opened.requests if not asked.startswith(site)] == []
    assert opened.complaints == []


def test_the_reference_has_every_public_name_and_command(site: str, opened: Any) -> None:
    import pbkd
    from pbkd import errors, execution, protocols
    from pbkd.cli import app
    from pbkd.core import results

    opened.goto(f"{site}/api.html")
    heads = set(opened.eval_on_selector_all("h3", "all => all.map(h => h.id)"))
    assert {f"pbkd.{name}" for name in pbkd.__all__} <= heads
    assert {f"pbkd.execution.{name}" for name in execution.__all__} <= heads
    kinds = {f"pbkd.errors.{name}" for name in errors.__all__ if name.endswith("Error")}
    assert kinds <= heads
    assert "pbkd.core.schedule.Stage" in heads
    for module in (protocols, results):
        for name, member in vars(module).items():
            if isinstance(member, type) and member.__module__ == module.__name__:
                assert {f"pbkd.{name}", f"{module.__name__}.{name}"} & heads, name
    opened.goto(f"{site}/cli.html")
    text = opened.inner_text("article")
    for command in app.registered_commands:
        assert f"pbkd {command.name}" in text


def test_what_is_looked_for_is_found(site: str, opened: Any) -> None:
    opened.set_viewport_size({"width": 1440, "height": 800})
    opened.goto(f"{site}/index.html")
    opened.click(".md-search__input")
    opened.keyboard.type("makespan")
    opened.wait_for_selector(".md-search-result__link")
    assert "Concepts" in opened.inner_text(".md-search-result__list")


def test_the_switch_changes_the_theme(site: str, opened: Any) -> None:
    opened.set_viewport_size({"width": 1440, "height": 800})
    opened.goto(f"{site}/index.html")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = opened.evaluate(colour)
    opened.click("label[title=Dark]")
    assert opened.evaluate(colour) != light
