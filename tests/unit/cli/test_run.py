"""`pbkd run` without training: configuration, plugins, plan."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pbkd.config.load import load_config
from pbkd.config.schema import RunConfig
from pbkd.pipeline.teacher_check import TeacherDoubt
from pbkd.report.console.display import open_console
from tests.command_line import SCHEDULER_PLUGIN, Pbkd, mistake


def test_the_configuration_is_printed_so_that_it_can_be_loaded(pbkd: Pbkd) -> None:
    overrides = ["builder.share=0.3", "distill={epochs: 3, lr: 1e-2}", "out=a b", "keep=[stem*]"]
    ended = pbkd("run", *overrides, "--print-config")
    assert (ended.code, ended.err) == (0, "")
    Path("saved.yaml").write_text(ended.out)
    assert load_config(file=Path("saved.yaml")) == load_config(overrides)
    again = pbkd("run", "--config", "saved.yaml", "--print-config")
    assert again.out == ended.out
    assert pbkd(
        "run", "-c", "saved.yaml", "--seed", "7", "--print-config"
    ).out == ended.out.replace("seed: 0", "seed: 7")
    assert [path.name for path in Path.cwd().iterdir()] == ["saved.yaml"]


def test_the_option_seed_is_the_override_seed(pbkd: Pbkd) -> None:
    assert "seed: 5" in pbkd("run", "--seed", "5", "--print-config").out.splitlines()


def test_a_plugin_file_is_loaded_and_selected(pbkd: Pbkd) -> None:
    Path("mine.py").write_text(SCHEDULER_PLUGIN)
    ended = pbkd("run", "--plugin", "mine.py", "scheduler.seed=3", "--print-config")
    Path("saved.yaml").write_text(ended.out)
    config = load_config(file=Path("saved.yaml"))
    assert config == RunConfig(scheduler={"name": "mine", "seed": 3}, plugins=["mine.py"])
    assert ended.err == "--plugin mine.py selects scheduler=mine.\n"
    assert pbkd("run", "-c", "saved.yaml", "--print-config").out == ended.out
    ended = pbkd("run", "--plugin", "mine.py", "scheduler=greedy", "--print-config")
    assert "scheduler:\n  name: greedy\n" in ended.out
    assert ended.err == (
        "--plugin mine.py selects nothing; to select what else it provides: the scheduler 'mine'"
        " (scheduler=mine).\n"
    )


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("meters=[nvlm]", "unknown meter 'nvlm'. Did you mean 'nvml'?"),
        ("meters=[{name: rapl, foo: 1}]", "unknown option 'meters.0.foo'."),
        ("candidates=[{name: ghosst}]", "unknown builder 'ghosst'."),
        ("candidates=[{name: low-rank, share: many}]", "'candidates.0.share': Value 'many'"),
        ("observers=[dairy]", "unknown observer 'dairy'."),
        ("augmentation=crop-filp", "unknown augmentation 'crop-filp'. Did you mean 'crop-flip'?"),
        ("distill.optimiser.momentun=1", "unknown option 'distill.optimiser.momentun'."),
        ("finetune.schedule=cosin", "unknown lr-schedule 'cosin'. Did you mean 'cosine'?"),
        ("finetune.loss.temperature=hot", "'finetune.loss.temperature': Value 'hot'"),
        ("target.selector=exakt", "unknown selector 'exakt'."),
        ("distill.loss=l2", "unknown loss 'l2'."),
        ("distill.loss.foo=1", "unknown option 'distill.loss.foo'."),
        ("builder.rank=2", "unknown option 'builder.rank'."),
        ("launcher.restarts=many", "'launcher.restarts': Value 'many'"),
        ("data=npz", "'data.path' is required."),
        ("teacher=vgg61", "unknown model 'vgg61'."),
        ("teacher.weigths=x", "unknown option 'teacher.weigths'."),
        ("teacher=timm", "'timm' names no network: write 'timm:VARIANT'."),
    ],
)
def test_names_and_options_are_checked_before_a_configuration_is_printed(
    pbkd: Pbkd, override: str, told: str
) -> None:
    assert mistake(pbkd("run", override, "--print-config")).startswith(told)


def test_names_of_plugins_that_are_not_loaded_are_printed(pbkd: Pbkd) -> None:
    Path("mine.yaml").write_text("{plugins: [mine.py], builder: mine, scheduler: {name: greedy}}")
    assert pbkd("run", "-c", "mine.yaml", "--print-config").code == 0
    told = mistake(pbkd("run", "-c", "mine.yaml", "scheduler.patience=1", "--print-config"))
    assert told.startswith("unknown option 'scheduler.patience'.")


def test_a_mistake_in_what_is_used_last_stops_the_run_before_it_begins(
    pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.pipeline.run._plan", None)
    told = mistake(pbkd("run", "candidates=[{name: ghost, ratio: half}]"))
    assert told.startswith("unknown option 'candidates.0.ratio'") or "half" in told


def test_two_plugins_for_one_slot_are_a_mistake(pbkd: Pbkd) -> None:
    Path("mine.py").write_text(SCHEDULER_PLUGIN)
    Path("yours.py").write_text(SCHEDULER_PLUGIN.replace('"mine"', '"yours"'))
    told = mistake(pbkd("run", "--plugin", "mine.py", "--plugin", "yours.py"))
    assert told.startswith("'mine' of mine.py and 'yours' of yours.py claim the slot 'scheduler'")


@pytest.mark.parametrize("source", ["raise SystemExit(0)", "def (", "import no_such_module"])
def test_a_plugin_file_that_fails_is_a_mistake(pbkd: Pbkd, source: str) -> None:
    Path("sick.py").write_text(source)
    told = mistake(pbkd("run", "--plugin", "sick.py", "--print-config"))
    assert told.startswith("the plugin 'sick.py' fails to import: ")


def test_the_plan_is_shown_and_nothing_is_written_or_trained(
    pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.pipeline.train_blocks.distill_teacher_fed", None)
    ended = pbkd(
        "run",
        "--plan",
        "threads=1",
        "workers=2",
        "keep=[stem*, head*, conv3*]",
        "scheduler=greedy",
        "builder.stem=true",
    )
    assert (ended.code, ended.err) == (0, "")
    teacher, images, untrained, head, *lines = ended.out.splitlines()
    assert teacher.startswith("teacher digits-vgg: 98.89 % of 360 test images")
    assert images.startswith("Images: 8 x 8 pixels")
    assert re.fullmatch(r"Before any training the student has [\d.]+ % accuracy .*", untrained)
    assert head.split() == ["block", "input", "output", "parameters", "MACs", "ms/step", "worker"]
    rows, (last, scheduler) = lines[:4], lines[4:6]
    assert [row.split()[0] for row in rows] == ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]
    assert {row.split()[-1] for row in rows} == {"0", "1"}
    assert last.startswith("4 of 4 blocks, 64 steps each, on 2 worker(s): about ")
    assert scheduler == "scheduler greedy"
    assert list(Path.cwd().iterdir()) == []


def test_the_plan_tells_the_student_and_the_seconds_of_every_phase(pbkd: Pbkd) -> None:
    ended = pbkd("run", "--plan", "threads=1", "distill.epochs=2", "finetune.epochs=0")
    cells = (re.split(r"\s{2,}", line.strip()) for line in ended.out.splitlines())
    rows = {name: figures for name, *figures in cells}
    assert rows["parameters"] == ["288,618", "70,794", "4.08x"]
    assert rows["MACs"] == ["2,379,008", "575,744", "4.13x"]
    for batch in (1, 64):
        milliseconds = rows[f"latency, median of a batch of {batch}"]
        assert all(float(figure.removesuffix(" ms")) > 0 for figure in milliseconds[:2])
    phases = [
        "planning", "teacher-fed", "scoring", "student-fed", "recalibration", "fine-tuning",
        "evaluation",
    ]  # fmt: skip
    seconds = {phase: float(rows[phase][0]) for phase in phases}
    assert [phase for phase, spent in seconds.items() if not spent] == [
        "student-fed",
        "fine-tuning",
    ]
    assert float(rows["whole run"][0]) == pytest.approx(sum(seconds.values()), abs=0.05)


def test_a_teacher_that_would_stop_the_run_is_a_remark_in_the_plan(
    pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubt = TeacherDoubt("it only guesses.", stops=True)
    monkeypatch.setattr("pbkd.pipeline.teacher_check.doubt_teacher", lambda _task: doubt)
    ended = pbkd("run", "--plan", "threads=1", "keep=[stem*, head*, conv1*, conv2*]")
    assert (ended.code, ended.err) == (0, "")
    assert "It only guesses." in ended.out.splitlines()
    assert "whole run" in ended.out


def test_lines_are_printed_as_they_are_however_long_and_bracketed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = "[/conv1] [red] :warning: " + 100 * "long "
    open_console().print(line)
    assert capsys.readouterr().out == line + "\n"
    open_console(quiet=True).print(line)
    assert capsys.readouterr().out == ""
