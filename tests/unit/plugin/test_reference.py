from __future__ import annotations

import re
from importlib import import_module

from pbkd.plugin.interfaces import PACKAGES, PUBLIC_MODULES
from pbkd.plugin.reference import hooks_markdown
from pbkd.plugin.slots import PROTOCOLS, SLOTS


def test_every_hook_and_method_is_there_with_its_signature_and_who_calls_it() -> None:
    text = hooks_markdown([])
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == [*SLOTS.values(), "block_finished", "run_finished"]
    for slot, hook in SLOTS.items():
        assert f"    def {hook}() -> Iterable[" in sections[hook]
        if slot in PROTOCOLS:
            assert f"### {PROTOCOLS[slot].__name__}\n" in sections[hook]
    described = re.findall(r"^    def .*?(?=^    def |^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(described) == len(sections) + 18
    for one in described:
        assert re.search(r"Called (by|with|once|in)\b", one), one
        assert re.search(r"in the\s+host\s+process", one), one


def test_a_signature_is_that_of_the_source() -> None:
    text = hooks_markdown([])
    assert (
        "    def launch(self, work: Callable[[Path, int], None], folder: Path,"
        " workers: Sequence[Worker]) -> None\n"
    ) in text
    assert "    EnergyReading(joules: Mapping[str, float], lost: Mapping[str, str], " in text
    assert "    Loss(name: str, error: Callable[[Tensor, Tensor], Tensor]," in text
    assert "    def run_finished(result: RunResult) -> None\n" in text


def test_all_names_of_the_interfaces_are_there_with_their_docstrings() -> None:
    packages = [import_module(name) for name in PACKAGES]
    text = hooks_markdown(packages)
    for module in (*PUBLIC_MODULES, *PACKAGES):
        assert f"- `{module}`: " in text
    for package in packages:
        (section,) = re.findall(
            rf"^## {re.escape(package.__name__)},.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
        )
        for name in package.__all__:
            (docstring,) = re.findall(
                rf"^    (?:def {name}\(|class {name}\(|{name} = ).*\n\n(.*)", section, re.MULTILINE
            )
            assert docstring.strip(), name


def test_sections_of_a_docstring_are_lists() -> None:
    text = hooks_markdown([import_module("pbkd.execution")])
    assert (
        "    def record_lost_process(folder: Path, pid: int, silent_seconds: float) -> None\n\n"
        "Record that a worker process was killed for its silence.\n\n"
        "Arguments:\n\n"
        "- `folder`: The run folder, as `launch` receives it.\n"
        "- `pid`: The process id.\n"
    ) in text
    assert "\n    JobPool.blocks_left: list[str]\n\n" in text
    assert "\n    class JobPool(schedule: Schedule)\n\n" in text
