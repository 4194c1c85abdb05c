from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch

from pbkd import cli
from pbkd.config.load import load_config
from pbkd.config.schema import RunConfig
from pbkd.models.teacher import load_teacher
from pbkd.report.console.display import open_console

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry

HEAD = """
from dataclasses import dataclass
from typing import ClassVar

from pbkd import hookimpl
"""

MINE = (
    HEAD
    + """
@dataclass(frozen=True)
class Mine:
    name: ClassVar[str] = "mine"
    seed: int = 0

    def schedule(self, costs, workers):
        raise NotImplementedError


@hookimpl
def register_schedulers():
    return [Mine]
"""
)

METER = (
    HEAD
    + """
@dataclass(frozen=True)
class Wattmeter:
    name: ClassVar[str] = "wattmeter"
    port: str

    def open(self):
        raise NotImplementedError


@hookimpl
def register_meters():
    return [Wattmeter]
"""
)


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Pbkd = Callable[..., Ended]


@pytest.fixture
def pbkd(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Pbkd:
    """Return a function that calls the command line in this process, in an empty folder."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def call(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["pbkd", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return call


def in_a_process(code: str, *arguments: str, path: Path | None = None) -> Ended:
    """Run Python code in a fresh process, with `path` before everything that is installed."""
    environment = {**os.environ, "COLUMNS": "40"}
    if path:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


MAIN = "from pbkd.cli import main\nmain()"


def mistake(ended: Ended) -> str:
    """Return what the user is told: one line on standard error, with exit code 2."""
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("pbkd: ")
    assert ended.err.count("\n") == 1
    assert ended.err.endswith("\n")
    return ended.err.removeprefix("pbkd: ").strip()


@pytest.mark.parametrize(
    "verb",
    [
        [], ["run"], ["zoo"], ["zoo", "train"], ["zoo", "add"], ["plugins"], ["doctor"],
        ["compare"], ["baseline"],
    ],
)  # fmt: skip
def test_help_imports_nothing_that_is_slow(verb: list[str]) -> None:
    code = dedent("""
        import sys
        from pbkd.cli import main
        try:
            main()
        finally:
            slow = {"torch", "torchvision", "timm", "sklearn", "numpy", "omegaconf", "pluggy"}
            print(sorted(slow & sys.modules.keys()), file=sys.stderr)
    """)
    ended = in_a_process(code, *verb, "--help")
    assert ended.code == 0
    assert f"Usage: {' '.join(['pbkd', *verb])} " in ended.out
    assert ended.err == "[]\n"


def test_help_names_every_verb(pbkd: Pbkd) -> None:
    assert pbkd("--help").code == 0
    ended = pbkd()
    assert ended.code == 2
    for verb in ("run", "watch", "compare", "baseline", "doctor", "zoo", "plugins"):
        assert f" {verb} " in ended.out + ended.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "worker=2"], "unknown key 'worker'. Did you mean 'workers'? Known: "),
        (["run", "workers=two"], "'workers' is 'two', but must be a number or auto."),
        (["run", "threads=two"], "'threads': Value 'two'"),
        (["run", "workers"], "'workers' is not an override: write key=value."),
        (["run", "--config", "none.yaml"], "there is no configuration file 'none.yaml'."),
        (["run", "--plugin", "gredy"], "there is no plugin 'gredy': "),
        (["run", "--plugin", "none.py"], "the plugin 'none.py' fails to import: "),
        (["run", "plugins=[none.py]"], "the plugin 'none.py' fails to import: "),
        (["run", "teacher=vgg61"], "unknown model 'vgg61'."),
        (["run", "teacher=vgg16", "data=synthetic"], "the teacher 'vgg16' has no trained weights"),
        (["run", "teacher.weights=none.pt"], "there is no file of weights 'none.pt'."),
        (["run", "data=digit"], "unknown data source 'digit'. Did you mean 'digits'?"),
        (["run", "data=synthetic"], "the data 'synthetic' has 3 channels, but the teacher"),
        (["run", "distill.loss=l2"], "unknown loss 'l2'."),
        (
            ["run", "builder=separable", "builder.rank=0"],
            "'builder.rank' and 'builder.repeats' must be at least 1.",
        ),
        (
            ["run", "builder=separable", "builder.rnak=1"],
            "unknown option 'builder.rnak'. Did you mean 'rank'?",
        ),
        (["run", "meters=[volt]"], "unknown meter 'volt'."),
        (["zoo", "show", "vgg61"], "unknown model 'vgg61'."),
        (["zoo", "show", "timm"], "'timm' names no network: write 'timm:VARIANT'."),
        (["zoo", "list", "vgg16"], "'vgg16' is one network, not a family of them."),
        (["zoo", "train", "vgg61"], "unknown model 'vgg61'."),
        (["zoo", "compress", "vgg61"], "unknown model 'vgg61'."),
        (["zoo", "compress", "vgg11"], "no recipe is recorded for 'vgg11': compress it with"),
        (["zoo", "compress", "digits-vgg", "worker=2"], "unknown key 'worker'. Did you mean"),
        (["zoo", "add", "nowhere"], "'nowhere' holds no finished run: name the folder"),
        (["zoo", "verify", "vgg61"], "unknown model or student 'vgg61'. Did you mean"),
        (["zoo", "verify", "seed=1"], "'seed' cannot be set here: only data, such as"),
        (["zoo", "train", "vgg16", "epoch=1"], "unknown key 'epoch'. Did you mean 'epochs'?"),
        (["compare", "none"], "'none' holds no finished run: name the folder of a run"),
        (["baseline", "none"], "'none' holds no finished run: name the folder of a run"),
        (["baseline", "none", "--lr", "0"], "--lr is 0.0, but must be above 0 and finite."),
        (["zoo", "train", "vgg16"], "'vgg16' takes images of 3 channels, but 'digits' has 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    pbkd: Pbkd, arguments: list[str], told: str
) -> None:
    assert mistake(pbkd(*arguments)).startswith(told)
    assert list(Path.cwd().iterdir()) == []


def test_a_mistake_is_told_the_same_way_in_a_process_of_its_own() -> None:
    ended = in_a_process(MAIN, "run", "worker=2")
    assert mistake(ended).startswith("unknown key 'worker'. Did you mean 'workers'?")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("arguments", [["walk"], ["run", "--fast"], ["zoo", "show"], ["run", "-c"]])
def test_a_wrong_command_line_is_exit_code_2_too(pbkd: Pbkd, arguments: list[str]) -> None:
    ended = pbkd(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error" in ended.err
    assert "Traceback" not in ended.err


def test_ctrl_c_is_no_traceback(pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pbkd.pipeline.run.run", interrupted)
    for verb in (["run"], ["zoo", "compress", "digits-vgg"]):
        ended = pbkd(*verb)
        assert ended.code == 130
        assert ended.err == "pbkd: stopped; nothing was trained.\n"


def test_a_run_that_is_stopped_can_be_asked_about_and_goes_on(
    pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    quick = ["threads=1", "distill.epochs=1", "distill.student_fed_epochs=0", "finetune.epochs=1"]
    with monkeypatch.context() as patch:
        patch.setattr("pbkd.pipeline.run.finish", interrupted)
        stopped = pbkd("run", *quick, "meters=[]")
    (folder,) = (path for path in Path("runs").iterdir() if not path.is_symlink())
    assert stopped.code == 130
    assert stopped.err == f"pbkd: stopped; go on with `pbkd run --resume {folder}`.\n"
    told = pbkd("status").out
    assert "teacher-fed: 5 of 5 done" in told
    assert "fine-tuning: not begun, 1 epochs" in told
    assert f"stopped; go on with `pbkd run --resume {folder}`" in told
    assert "seed" in mistake(pbkd("run", "--resume", "seed=3"))
    assert pbkd("run", "--resume", "--quiet").code == 0
    assert "finished; README.md there is the model card" in pbkd("status", str(folder)).out
    again = pbkd("run", "--resume", str(folder))
    assert again.out == f"the run in {folder} is finished; README.md there is the model card\n"


def test_an_error_of_pbkds_own_is_not_hidden(pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("pbkd.pipeline.run.run", broken)
    with pytest.raises(ZeroDivisionError):
        pbkd("run")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device", "x"), "a file cannot be read or written: "),
        (PermissionError(13, "Permission denied", "x"), "a file cannot be read or written: "),
        (MemoryError(), "memory ran out: choose a smaller batch_size or fewer workers."),
        (torch.OutOfMemoryError("CUDA: tried\nto"), "memory ran out: choose a smaller batch_size"),
    ],
)
def test_full_disks_and_full_memory_are_one_sentence(
    pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr("pbkd.pipeline.run.run", broken)
    sentence = mistake(pbkd("run", "--quiet"))
    assert sentence.startswith(told)
    if isinstance(error, OSError):
        assert str(error) in sentence


IDLE = (
    HEAD
    + """
class Idle:
    name = "idle"

    def launch(self, work, folder, workers):
        pass


@hookimpl
def register_launchers():
    return [Idle]
"""
)


def test_a_launcher_that_trains_nothing_is_found_out(pbkd: Pbkd) -> None:
    Path("idle.py").write_text(IDLE)
    told = mistake(pbkd("run", "--quiet", "--plugin", "idle.py", *ONE_BLOCK))
    assert told == (
        "the launcher 'idle' of the plugin 'idle.py' ended, but nobody trained conv3_2."
    )


def test_a_launcher_that_raises_is_told_and_the_run_can_go_on(pbkd: Pbkd) -> None:
    body = IDLE.replace("pass", "raise KeyError('no\\ncluster')")
    assert body != IDLE
    Path("idle.py").write_text(body)
    told = mistake(pbkd("run", "--quiet", "--plugin", "idle.py", *ONE_BLOCK))
    found = re.fullmatch(
        r"the launcher 'idle' of the plugin 'idle.py' fails in launch \(KeyError: .*cluster.*\):"
        r" go on with another one, by `pbkd (run --resume \S+ launcher=local)`\.",
        told,
    )
    assert found, told
    ended = pbkd(*found[1].split(), "--quiet")
    assert (ended.code, ended.err) == (0, "")
    assert (Path(found[1].split()[2]) / "result.json").is_file()


def test_the_configuration_is_printed_so_that_it_can_be_loaded(pbkd: Pbkd) -> None:
    overrides = ["builder.rank=2", "distill={epochs: 3, lr: 1e-2}", "out=a b", "keep=[stem*]"]
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
    Path("mine.py").write_text(MINE)
    ended = pbkd("run", "--plugin", "mine.py", "scheduler.seed=3", "--print-config")
    Path("saved.yaml").write_text(ended.out)
    config = load_config(file=Path("saved.yaml"))
    assert config == RunConfig(scheduler={"name": "mine", "seed": 3}, plugins=["mine.py"])
    assert pbkd("run", "-c", "saved.yaml", "--print-config").out == ended.out
    ended = pbkd("run", "--plugin", "mine.py", "scheduler=greedy", "--print-config")
    assert "scheduler:\n  name: greedy\n" in ended.out


def test_two_plugins_for_one_slot_are_a_mistake(pbkd: Pbkd) -> None:
    Path("mine.py").write_text(MINE)
    Path("yours.py").write_text(MINE.replace('"mine"', '"yours"'))
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
    monkeypatch.setattr("pbkd.pipeline.run.distil_teacher_fed", None)
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
    head, *rows, last, scheduler = ended.out.splitlines()
    assert head.split() == ["block", "input", "output", "parameters", "MACs", "ms/step", "worker"]
    assert [row.split()[0] for row in rows] == ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]
    assert {row.split()[-1] for row in rows} == {"0", "1"}
    assert last.startswith("4 of 4 blocks, 608 steps each, on 2 worker(s): about ")
    assert scheduler == "scheduler greedy"
    assert list(Path.cwd().iterdir()) == []


ONE_BLOCK = [
    "threads=1",
    "keep=[stem*, head*, conv1*, conv2*, conv3_1]",
    "distill.epochs=1",
    "distill.student_fed_epochs=1",
    "finetune.epochs=1",
    "meters=[]",
]


def test_a_quiet_run_prints_its_folder_alone(pbkd: Pbkd) -> None:
    ended = pbkd("run", "--quiet", *ONE_BLOCK, "out=deep/runs")
    assert (ended.code, ended.err) == (0, "")
    folder = Path(ended.out.rstrip("\n"))
    assert ended.out == f"{folder}\n"
    assert folder.resolve() == Path("deep/runs/latest").resolve()
    assert json.loads((folder / "result.json").read_text())["folder"] == str(folder)


def test_a_run_tells_what_it_does_and_what_came_of_it(pbkd: Pbkd) -> None:
    ended = pbkd("run", *ONE_BLOCK)
    assert (ended.code, ended.err) == (0, "")
    (folder,) = (path for path in Path("runs").iterdir() if path.name != "latest")
    card = (folder / "README.md").read_text()
    lines = ended.out.splitlines()
    assert lines[0].startswith("teacher digits-vgg: 9")
    assert lines[0].endswith(" % of 360 test images; cut by vgg")
    assert f"run folder: {folder}" in lines
    assert any(line.startswith("conv3_2: trained teacher-fed by worker 0, loss ") for line in lines)
    assert any(line.startswith("conv3_2: alone it loses ") for line in lines)
    assert any(line.startswith("fine-tuning, epoch 1: loss ") for line in lines)
    verdict = card.splitlines()[2]
    assert verdict in lines
    assert lines[-1] == f"everything is in {folder}; README.md there is the model card"


def test_lines_are_printed_as_they_are_however_long_and_bracketed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = "[/conv1] [red] :warning: " + 100 * "long "
    open_console().print(line)
    assert capsys.readouterr().out == line + "\n"
    open_console(quiet=True).print(line)
    assert capsys.readouterr().out == ""


def test_the_zoo_is_listed(pbkd: Pbkd, registry: Registry) -> None:
    head, *rows = pbkd("zoo", "list").out.splitlines()
    assert head.split()[:5] == ["model", "kind", "data", "accuracy", "parameters"]
    models = registry.strategies["model"]
    listed = [row.split()[0].removesuffix(":NAME") for row in rows]
    assert listed[: len(models)] == list(models)
    (row,) = (row for row in rows if row.startswith("digits-vgg "))
    assert row.rstrip().endswith("1.16 MB  Apache-2.0  pbkd zoo train digits-vgg")


def test_the_variants_of_a_family_are_listed(pbkd: Pbkd) -> None:
    lines = pbkd("zoo", "list", "torchvision").out.splitlines()
    assert "torchvision:resnet18" in lines
    assert all(line.startswith("torchvision:") for line in lines)


def test_a_model_is_shown_with_its_card(pbkd: Pbkd) -> None:
    lines = pbkd("zoo", "show", "digits-vgg").out.splitlines()
    assert lines[0].startswith("digits-vgg: teacher for 8x8 handwritten digits")
    assert "parameters: 288,618" in lines
    assert any(line.startswith("  sha256: ") for line in lines)


def test_a_model_is_trained_and_can_then_be_a_teacher(pbkd: Pbkd, registry: Registry) -> None:
    ended = pbkd("zoo", "train", "digits-resnet", "epochs=1", "device=cpu", "--out", "new/trained")
    assert (ended.code, ended.err) == (0, "")
    epoch, last = ended.out.splitlines()
    assert epoch.startswith("epoch 1: loss ")
    assert last.startswith("new/trained/digits-resnet.yaml: ")
    weights = "new/trained/digits-resnet.safetensors"
    assert load_teacher(registry, {"name": "digits-resnet", "weights": weights}).weights == weights


def test_a_model_is_compressed_by_its_recipe_and_its_student_is_kept(
    pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PBKD_ZOO", raising=False)
    made = pbkd("zoo", "compress", "digits-vgg", *ONE_BLOCK, "--seed", "3", "--quiet")
    assert (made.code, made.err) == (0, "")
    run = made.out.strip()
    added = pbkd("zoo", "add", run, "--name", "small").out.splitlines()
    here = Path("pbkd-zoo").resolve()
    assert added == [
        "added small: pbkd-zoo/small",
        f"to have it listed and found by name: export PBKD_ZOO={here}",
    ]
    assert pbkd("zoo", "path").out.splitlines()[-1] == "add one with: export PBKD_ZOO=FOLDER"
    monkeypatch.setenv("PBKD_ZOO", str(here))
    assert pbkd("zoo", "path").out.splitlines()[0] == str(here)
    rows = pbkd("zoo", "list").out.splitlines()
    (row,) = [row for row in rows if row.split()[:3] == ["small", "student", "digits"]]
    assert row.rstrip().endswith("…")
    assert len(row) <= 200
    shown = pbkd("zoo", "show", "small").out
    assert "--seed 3 --quiet\n" in shown
    assert "  kind: student" in shown.splitlines()
    checked = pbkd("zoo", "verify", "small")
    assert (checked.code, len(checked.out.splitlines())) == (0, 5)
    assert all(" ok: " in line for line in checked.out.splitlines()[1:])
    assert mistake(pbkd("zoo", "add", run, "--name", "small")).startswith(f"'{here}/small' is th")
    command = json.loads((Path(run) / "result.json").read_text())["command"]
    again = pbkd(*shlex.split(command)[1:]).out.strip()
    assert again != run
    one, two = (Path(folder) / "student" / "model.safetensors" for folder in (run, again))
    assert one.read_bytes() == two.read_bytes()


def test_the_plan_of_a_recipe_trains_nothing(pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbkd.pipeline.run.distil_teacher_fed", None)
    ended = pbkd("zoo", "compress", "digits-vgg", "--plan", "threads=1", "keep=[stem*, conv1*]")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[1].startswith("conv2_1 ")
    assert list(Path.cwd().iterdir()) == []


def test_what_is_not_as_its_card_says_is_exit_code_1(
    pbkd: Pbkd, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PBKD_ZOO", "mine")
    assert pbkd("zoo", "add", str(finished), "--licence", "MIT", "--half").code == 0
    card = Path("mine/digits-vgg-student/card.yaml")
    card.write_text(card.read_text().replace("parameters: ", "parameters: 1"))
    ended = pbkd("zoo", "verify")
    assert (ended.code, ended.err) == (1, "")
    failed = [line.split()[:3] for line in ended.out.splitlines() if "FAILED" in line]
    assert failed == [["digits-vgg-student", "parameters", "FAILED:"]]
    card.write_text("[")
    assert "damaged: the card " in pbkd("zoo", "list").out
    assert mistake(pbkd("zoo", "show", "digits-vgg-student")).startswith("the student 'digits-vgg")


def test_the_plugins_are_listed(pbkd: Pbkd, registry: Registry) -> None:
    head, *rows = pbkd("plugins", "list").out.splitlines()
    assert head.split() == ["plugin", "version", "from", "provides"]
    assert [row.split()[0] for row in rows] == list(registry.plugins)
    greedy = next(row for row in rows if row.startswith("greedy"))
    assert greedy.split() == ["greedy", "0.1.0", "pbkd", "scheduler", "greedy"]


def test_a_plugin_is_shown_with_its_options(pbkd: Pbkd) -> None:
    Path("mine.py").write_text(MINE + METER.removeprefix(HEAD))
    assert pbkd("plugins", "show", "mine.py").out.splitlines() == [
        "plugin: mine.py",
        "version: none, it is not installed",
        f"from: {Path('mine.py').resolve()}",
        "contract: not stated",
        "scheduler mine",
        "  scheduler.seed: int = 0",
        "meter wattmeter",
        "  port: str, must be given",
    ]
    head, *lines = pbkd("plugins", "show", "low-rank").out.splitlines()
    assert (head, *lines[:3]) == (
        "plugin: low-rank", "version: 0.1.0", "from: pbkd 0.1.0", "contract: 1",
    )  # fmt: skip
    assert lines[3].startswith("builder low-rank: Put two thin convolutions in the place of every")
    assert "  builder.share: float = 0.24" in lines
    assert "  teacher.width: float = 1.0" in pbkd("plugins", "show", "zoo").out.splitlines()
    assert mistake(pbkd("plugins", "show", "gredy")).startswith("there is no plugin 'gredy': ")


def test_a_plugin_is_checked_with_a_line_for_each_thing_it_registers(pbkd: Pbkd) -> None:
    assert pbkd("plugins", "new", "mine", "--kind", "scheduler").out.splitlines() == [
        "pbkd-mine: begun as a copy of 'round-robin'",
        "install it with: pip install --editable pbkd-mine",
    ]
    ended = pbkd("plugins", "check", "pbkd-mine")
    assert (ended.code, ended.err) == (0, "")
    head, *lines = ended.out.splitlines()
    assert head.split() == ["registered", "check", "result"]
    assert [(line.split()[:2], line.split()[-1]) for line in lines] == [
        (["scheduler", "mine"], "ok")
    ]
    assert [path.name for path in Path.cwd().iterdir()] == ["pbkd-mine"]


def test_a_plugin_that_breaks_its_contract_is_exit_code_1_with_the_reason(pbkd: Pbkd) -> None:
    Path("sick.py").write_text(MINE + METER.removeprefix(HEAD))
    ended = pbkd("plugins", "check", "sick.py")
    assert (ended.code, ended.err) == (1, "")
    scheduler, meter = (" ".join(line.split()) for line in ended.out.splitlines()[1:])
    assert scheduler.startswith("scheduler mine schedules are complete")
    assert scheduler.endswith("FAILED: NotImplementedError")
    assert "meter wattmeter" in meter
    assert "not checked: its option port has no default" in meter
    Path("old.py").write_text(f"PBKD_CONTRACT = 0\n{MINE}")
    ended = pbkd("plugins", "check", "old.py")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith(
        "old.py: FAILED: the plugin 'old.py' is broken: 'old.py' is written"
    )
    assert ended.out.count("\n") == 1


def test_the_doctor_says_what_is_usable_and_why_the_rest_is_not(
    pbkd: Pbkd, registry: Registry
) -> None:
    first, *lines = pbkd("doctor").out.splitlines()
    assert first.startswith("pbkd 0.1.0, torch ")
    assert any(line.startswith("device cpu (") and line.endswith(": usable") for line in lines)
    for device in ("cuda", "mps"):
        assert any(line.startswith(f"device {device}") for line in lines)
    for kind, names in (("meter", registry.strategies["meter"]), ("plugin", registry.plugins)):
        for name in names:
            (line,) = (line for line in lines if line.startswith(f"{kind} {name}: "))
            assert not line.endswith(": ")


@pytest.fixture(scope="module")
def sick_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which four third-party plugins are installed, three of them broken."""
    site = tmp_path_factory.mktemp("site")
    sources = {
        "absent": "import no_such_module\n",
        "misspelt": MINE.replace("register_schedulers", "register_sheduler"),
        "taken": MINE.replace('"mine"', '"greedy"'),
        "wattmeter": METER,
    }
    info = site / "third_party-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 2.1\n")
    points = [f"{name} = third_party_{name}" for name in sources]
    (info / "entry_points.txt").write_text("\n".join(["[pbkd]", *points, ""]))
    for name, source in sources.items():
        (site / f"third_party_{name}.py").write_text(source)
    return site


REASONS = {
    "absent": "ModuleNotFoundError: No module named 'no_such_module'",
    "misspelt": "PluginValidationError: unknown hook 'register_sheduler' in plugin",
    "taken": "it registers the scheduler 'greedy', a name already taken by 'greedy'.",
}


def test_broken_plugins_are_listed_with_their_reasons(sick_site: Path) -> None:
    ended = in_a_process(MAIN, "plugins", "list", path=sick_site)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    for name, reason in REASONS.items():
        start = f"broken: {name} (third-party 2.1): {reason}"
        assert any(line.startswith(start) for line in lines)
    assert any(line.split()[:3] == ["greedy", "0.1.0", "pbkd"] for line in lines)
    assert any(
        line.split() == ["wattmeter", "2.1", "third-party", "meter", "wattmeter"] for line in lines
    )


def test_the_doctor_reports_broken_plugins_and_goes_on(sick_site: Path) -> None:
    ended = in_a_process(MAIN, "doctor", path=sick_site)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    for name, reason in REASONS.items():
        start = f"plugin {name} (third-party 2.1): broken: {reason}"
        assert any(line.startswith(start) for line in lines)
    assert "plugin greedy: usable" in lines
    assert "plugin wattmeter: usable" in lines
    (meter,) = (line for line in lines if line.startswith("meter wattmeter: "))
    assert "'port'" in meter


def test_an_unknown_name_tells_of_broken_plugins(sick_site: Path) -> None:
    told = mistake(in_a_process(MAIN, "run", "teacher=absent", path=sick_site))
    assert told.startswith("unknown model 'absent'.")
    for name, reason in REASONS.items():
        assert f"{name} ({reason}" in told
    told = mistake(in_a_process(MAIN, "run", "--plugin", "absent", path=sick_site))
    assert told == f"the plugin 'absent' (third-party 2.1) is broken: {REASONS['absent']}"
