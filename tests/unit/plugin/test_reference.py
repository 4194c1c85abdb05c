from __future__ import annotations

import re
from importlib import import_module

from pbkd import protocols
from pbkd.plugin.contract import CALLS, called_functions
from pbkd.plugin.interfaces import PACKAGES, PUBLIC_MODULES
from pbkd.plugin.received import received_types
from pbkd.plugin.reference import hooks_markdown
from pbkd.plugin.slots import ON_REQUEST, PROTOCOLS, SLOTS


def test_every_hook_and_method_has_its_row_in_the_contract() -> None:
    functions = dict(called_functions())
    assert functions.keys() - CALLS.keys() == set(), "add their rows to CALLS"
    undeclared = {name for name, call in CALLS.items() if call.signature}
    assert CALLS.keys() - functions.keys() == undeclared, "remove rows of what is gone"
    assert {call.on_request for call in CALLS.values()} == {"", *ON_REQUEST}
    table = hooks_markdown([]).partition("## register_partitioners")[0]
    for name in CALLS:
        (row,) = re.findall(rf"^\| `{re.escape(name)}` \|.*$", table, re.MULTILINE)
        cells = re.split(r"(?<!\\)\|", row)[1:-1]
        assert len(cells) == 7, row
        assert all(cell.strip(" `") for cell in cells), row


def test_every_hook_has_a_section_with_its_protocol() -> None:
    text = hooks_markdown([])
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == [name for name, _ in called_functions() if "." not in name]
    for slot, hook in SLOTS.items():
        assert f"    def {hook}() -> Iterable[" in sections[hook]
        if slot in PROTOCOLS:
            assert f"### {PROTOCOLS[slot].__name__}\n" in sections[hook]


def test_every_type_that_a_plugin_receives_is_described() -> None:
    packages = [import_module(name) for name in PACKAGES]
    text = hooks_markdown(packages)
    received = {name for _, name in received_types(packages)}
    assert {
        "Block",
        "RunResult",
        "Interval",
        "Workload",
        "PlannedWorker",
        "EnergyMonitor",
    } <= received
    for name in received | set(protocols.__all__):
        (described,) = re.findall(rf"^### {name}\n(?:\n.+)+\n", text, re.MULTILINE)
        assert f"{name}" in described
    assert "    class RunStopped(time: float = field(default_factory=now), folder: str)" in text


def test_a_signature_is_that_of_the_source() -> None:
    text = hooks_markdown([])
    assert (
        "    def launch(self, work: Callable[[Path, int], None], folder: Path,"
        " workers: Sequence[Worker]) -> None\n"
    ) in text
    assert "    EnergyReading(joules: Mapping[str, float], lost: Mapping[str, str], " in text
    assert "    LossContext(input: Tensor, index: int, block: str," in text
    assert "    def run_finished(self, result: RunResult, run: RunInfo) -> None\n" in text


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
                rf"^    (?:def {name}\(|class {name}\(|{name}(?:: TypeAlias)? = ).*\n\n(.*)",
                section,
                re.MULTILINE,
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
    assert "\n    RemoteWorkers.restart(rank: int) -> bool\n\n" in text
    assert "\n    class RemoteWorkers(handles: Sequence[WorkerHandle], patience: float)\n\n" in text
    planning = hooks_markdown([import_module("pbkd.planning")])
    assert "\n    StageParts.seconds: T\n\n" in planning
