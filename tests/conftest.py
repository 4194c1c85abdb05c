from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

# As the command line does, before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# Tests that run side by side get a share of the cores each, and so does every process they start.
_worker = os.environ.get("PYTEST_XDIST_WORKER")
if _worker and hasattr(os, "sched_setaffinity"):
    _cores = sorted(os.sched_getaffinity(0))
    _first = int(_worker.removeprefix("gw")) % len(_cores)
    os.sched_setaffinity(0, _cores[_first :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])])

# The process that only hands out the tests loads this file too, and needs no torch.
import pytest
from hypothesis import settings

from pbkd import cli
from tests.command_line import Ended, Pbkd
from tests.few_digits import few_digits
from tests.made_once import made_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask
    from tests.soak.attempt import Undisturbed
    from tests.soak.preloaded import Preloaded


# A busy machine may take any time for an example.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


_LONGEST = (
    "cluster/test_ray.py::", "test_kills_at_drawn_moments", "test_torchrun.py::test_of_four",
    "test_wheel.py::", "copied_and_renamed_plugin_pass", "test_digests.py::",
    "test_examples.py::", "test_torchrun.py::", "test_leaks.py::", "test_damage.py::",
    "test_torchrun_launcher.py::", "test_authors.py::", "test_shared_fine_tuning.py::",
    "test_pbkd_ray.py::", "test_export.py::", "test_coverage.py::", "test_scaffold.py::",
)  # fmt: skip
"""Parts of the names of the slow tests that take longest, which begin in this order."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deal the long tests out to pytest's processes, each of which then begins with its share.

    The processes are handed equal parts of the list, and take tests from each other's ends: the
    unit tests come last, so that nobody waits for a long one in the end.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes == 1:
        return
    if config.getoption("markexpr") == "slow":
        items.sort(key=_place)
        return
    short: list[pytest.Item] = []
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.nodeid.startswith("tests/unit/"):
            short.append(item)
        else:
            groups.setdefault(_group(item), []).append(item)
    names = sorted(groups, key=lambda name: "test_examples.py::" not in name)
    left = len(items)
    items.clear()
    for process in range(processes):
        part = [item for name in names[process::processes] for item in groups[name]]
        missing = max(0, left // (processes - process) - len(part))
        part += short[:missing]
        del short[:missing]
        items += part
        left -= len(part)


def _place(item: pytest.Item) -> int:
    """Return the place of a slow test: its name's in `_LONGEST`, or the last."""
    places = [place for place, part in enumerate(_LONGEST) if part in item.nodeid]
    return min(places, default=len(_LONGEST))


def _group(item: pytest.Item) -> str:
    """Name what a test shares with others, which are run by the same process."""
    if "preloaded" in getattr(item, "fixturenames", ()):
        return "preloaded"
    return item.nodeid if "test_examples.py::" in item.nodeid else item.nodeid.split("::")[0]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Give every test the same threads, so that equal work gives equal bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _state_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what pbkd records of the user's runs in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """The registry that all tests of a process share: a test with a plugin builds its own."""
    from pbkd.plugin.registry import build_registry

    shared = build_registry()
    before = list(shared.plugins)
    yield shared
    assert list(shared.plugins) == before


@pytest.fixture(scope="session")
def digits(registry: Registry) -> DistillationTask:
    """The digits teacher, its data and its chain."""
    from pbkd.config.load import load_config
    from pbkd.training.task import build_task

    return build_task(load_config(), registry, "cpu")


@pytest.fixture
def quick(tmp_path: Path) -> list[str]:
    """Overrides for a whole run of a second, of which one replacement is not good enough."""
    return [
        f"out={tmp_path / 'runs'}",
        *few_digits(tmp_path),
        "data.crop=1",
        "threads=1",
        "distill.epochs=2",
        "distill.student_fed_epochs=1",
        "finetune.epochs=1",
        "meters=[]",
        "builder.stem=true",
    ]


@pytest.fixture
def pbkd(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Pbkd:
    """A function that calls the command line in this process, in an empty folder."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["pbkd", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture(scope="session", autouse=True)
def _few_latency_passes() -> Iterator[None]:
    """Time each network of a run 5 times, not 30: tests compare no latency more precisely."""
    from pbkd.models.latency import latencies

    with pytest.MonkeyPatch.context() as patch:
        for module in (
            "pbkd.pipeline.network_figures",
            "pbkd.planning.limits",
            "pbkd.pipeline.choice",
        ):
            patch.setattr(f"{module}.latencies", partial(latencies, repeats=5))
        yield


@pytest.fixture(scope="session", autouse=True)
def _command_line_built_once() -> Iterator[None]:
    """Keep the command line that typer builds at each call of `pbkd.cli.main`."""
    import typer.main

    built: dict[tuple[Any, object], Any] = {}
    build = typer.main.get_command

    def get_command(app: Any) -> Any:
        key = app, app.rich_markup_mode
        built[key] = built.get(key) or build(app)
        return built[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", get_command)
        yield


@pytest.fixture(scope="session")
def finished(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the digits teacher, with one block replaced; read it only."""
    import torch

    from pbkd.config.load import load_config
    from pbkd.pipeline.run import run
    from pbkd.runs.folder import newest_run

    def make(out: Path) -> None:
        overrides = [
            "keep=[stem*, head*, conv1*, conv2*, conv3_1]",
            "distill.epochs=1",
            "distill.student_fed_epochs=0",
            "finetune.epochs=1",
            "threads=1",
            "meters=[]",
            f"out={out}",
        ]
        torch.set_num_threads(1)
        run(load_config(overrides), registry)

    return newest_run(made_once(tmp_path_factory, "finished", make))


@pytest.fixture(scope="session")
def added(
    registry: Registry, finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path, str], Path]:
    """A function that puts the student of that run into a zoo, under a name, and returns it."""
    from pbkd.zoo.add import add_student

    name = "that-student"
    make = partial(add_student, registry, finished, name=name)
    source = made_once(tmp_path_factory, "added", make) / name

    def add(zoo: Path, other: str) -> Path:
        folder = Path(shutil.copytree(source, zoo / other))
        for path in (folder / "card.yaml", folder / "README.md"):
            path.write_text(path.read_text().replace(name, other))
        return folder

    return add


@pytest.fixture(scope="session")
def preloaded() -> Iterator[Preloaded]:
    """A process that has imported torch, whose forks are commands of pbkd."""
    from tests.soak.preloaded import Preloaded

    with Preloaded() as started:
        yield started


@pytest.fixture(scope="session")
def tiny(preloaded: Preloaded, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run of a second by one worker that nobody disturbs."""
    from tests.soak.attempt import run_undisturbed

    return run_undisturbed(preloaded, tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty zoo folder, the only one beside that of pbkd itself."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    monkeypatch.setenv("PBKD_ZOO", str(folder))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; skips where there is none, or no playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    installed = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    with sync_api.sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(
                executable_path=next(installed, None), args=["--no-sandbox"]
            )
        except sync_api.Error as error:
            pytest.skip(f"no Chromium can be started: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """A tab in which every complaint and every request is noted."""
    tab = browser.new_page(color_scheme="light")
    tab.complaints, tab.requests = [], []
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda request: tab.requests.append(request.url))
    yield tab
    tab.close()
