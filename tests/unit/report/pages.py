"""Made-up runs for the tests of the pages, and a page taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

from pbkd.core.baselines import BaselineResult
from pbkd.core.blocks import BlockCost
from pbkd.core.events import BlockTrained, EpochDone, Event
from pbkd.core.results import RunResult
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.planning.cost_files import CostTable
from pbkd.report.report_data import ReportData
from pbkd.runs.finished import Finished
from pbkd.runs.plan_files import RecordedPlan
from tests.unit.report.test_card import BLOCK, PHASES, STUDENT, TEACHER, result

VOID = {"meta", "link", "img"}


@dataclass
class Element:
    """An element of a page: its attributes, the text and the elements in it."""

    tag: str
    attributes: dict[str, str | None]
    inside: list[Element] = field(default_factory=list)
    content: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.content)

    def find(self, tag: str, class_: str = "") -> list[Element]:
        """Return the elements below of a tag and, where it is given, a class."""
        found = [element for element in self.inside if element.tag == tag]
        return [
            e for e in found if class_ in (e.attributes.get("class") or "").split() or not class_
        ]


class Page(HTMLParser):
    """A page taken apart; raises `AssertionError` where elements are not closed in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("page", {})
        self._open = [self.root]
        self.feed(text)
        self.close()
        assert self._open == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        for outer in self._open:
            outer.inside.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for outer in self._open:
            outer.content.append(data)


def section(text: str, key: str) -> Element:
    """Return the section of a page with this id."""
    (found,) = (e for e in Page(text).root.find("section") if e.attributes["id"] == key)
    return found


def finished(whole: RunResult | None = None, name: str = "a", **changes: object) -> Finished:
    baselines: dict[str, BaselineResult] = {}
    run = Finished(name, whole or result(), baselines, resumed=False)
    return replace(run, **changes)  # type: ignore[arg-type]


def record(run: Finished | None = None, **changes: object) -> ReportData:
    """Return a run of a plan for one block, on one worker, without events."""
    return replace(ReportData(run or finished(), PLAN, [], "seed: 1\n"), **changes)  # type: ignore[arg-type]


def block_event(block: str, worker: int, end: float, seconds: float) -> BlockTrained:
    return BlockTrained(
        time=end,
        worker=worker,
        phase="teacher-fed",
        block=block,
        job_seconds=seconds,
        losses=(1.0,),
        failure=None,
        checksum=None,
    )


def fine_tuning_epoch(epoch: int, loss: float, accuracy: float) -> EpochDone:
    return EpochDone(
        time=1e9,
        worker=None,
        phase="fine-tuning",
        block="student",
        epoch=epoch,
        loss=loss,
        accuracy=accuracy,
    )


PLAN = RecordedPlan(
    CostTable("vgg on digits", (BlockCost("conv1", 0.25, 0.25, 0.5),), Workload(10, 10)),
    (Worker(0),),
    Schedule(((Job(("conv1",)),),)),
    "greedy",
    "predicted fastest",
)


def large() -> ReportData:
    """Return a run of 27 blocks, each with long curves, on 4 workers."""
    names = [f"layer{index // 9 + 1}_{index % 9}" for index in range(27)]
    losses = tuple(1 / epoch for epoch in range(1, 3001))
    blocks = tuple(
        replace(BLOCK, name=name, teacher_fed_losses=losses, student_fed_losses=losses)
        for name in names
    )
    costs = tuple(BlockCost(name, 0.01 * at, 0.01, 0.02) for at, name in enumerate(names))
    schedule = Schedule(tuple(tuple(Job((name,)) for name in names[rank::4]) for rank in range(4)))
    workers = tuple(map(Worker, range(4)))
    plan = RecordedPlan(
        CostTable("resnet56", costs, Workload(600, 600)), workers, schedule, "round-robin", "chosen"
    )
    events: list[Event] = [
        block_event(name, at % 4, 1e9 + 100 * (at // 4 + 1), 90 + at)
        for at, name in enumerate(names)
    ]
    events += [fine_tuning_epoch(epoch, loss=1.5, accuracy=0.9) for epoch in range(1, 2001)]
    return record(finished(result(blocks=blocks)), plan=plan, events=events)


def three_runs() -> list[Finished]:
    """Return two runs with all figures, and one without labels or joules."""
    cheap = replace(STUDENT, accuracy=0.9, macs=1_000_000)
    measured = tuple(replace(p, joules={"gpu0": 2.5}, joules_reason=None) for p in PHASES)
    unlabelled = result(
        accuracy_reason="no labels",
        teacher=replace(TEACHER, accuracy=None),
        student=replace(STUDENT, accuracy=None, agreement=0.875),
        accuracies=dict.fromkeys(("assembled",)),
        agreements={"assembled": 0.75},
    )
    return [
        finished(result(phases=measured)),
        finished(result(student=cheap, phases=measured), "b"),
        finished(unlabelled, "c"),
    ]


def drawn(text: str) -> dict[str, list[tuple[str, float, float]]]:
    """Return the bars of each Gantt chart: what they are, and their start and seconds in pixels."""
    charts = section(text, "course").find("svg", "gantt")
    return {
        chart.find("title")[0].text: [
            (rect.text, float(rect.attributes["x"] or 0), float(rect.attributes["width"] or 0))
            for rect in chart.find("rect")
            if rect.text
        ]
        for chart in charts
    }
