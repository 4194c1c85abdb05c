"""Mistakes that authors of plugins make: each ends in one sentence with plugin, hook and cure."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import pbkd.testing.plugin
from pbkd.cli import app
from pbkd.errors import PbkdError

HEAD = """
import time
from dataclasses import dataclass

import torch
from torch import nn

import pbkd
from pbkd import Job, Schedule, ZooModel

@dataclass
class Mine:
    name = "mine"
    title = "Mine"
    suffix = ".mine"
"""
HOOK = """
@pbkd.hookimpl
def register_{}():
    return [{}]
"""
# Of each: the hook, the lines of the class, what is registered, what is run, and what is said.
REGISTERED = {
    "no name": ("schedulers", 'name = ""', "Mine",
                "registers Mine, which has no name: give its class an attribute name"),
    "reserved name": ("data", 'name = "a:b"', "Mine", "'a:b', which has another meaning .* choose"),
    "instance": ("builders", "def build(self, segment, block): pass", "Mine()",
                 "registers an instance of Mine, which is not a class: register the class itself"),
    "function": ("losses", "", "len", "registers len, which has no name"),
    "no model": ("models", "", "Mine", "registers Mine, which is not a pbkd.ZooModel: make one"),
    "no list": ("meters", "", "Mine] and 7 or [7", "registers an instance of int"),
    "no method": ("launchers", "", "Mine", r"no method launch: write launch\(self, work, folder"),
    "no suffix": ("exporters", "suffix = None\n    def write(self, subject, path): pass\n"
                  "    def read(self, path, subject): pass", "Mine", "no attribute suffix, a text"),
    "scheduler's signature": ("schedulers", "def schedule(self, costs): pass", "Mine",
                              r"schedule that does not take \(self, costs, workers\): let it"),
    "builder's signature": ("builders", "def build(self, segment): pass", "Mine",
                            r"build that does not take \(self, segment, block\): let it"),
    "optimiser's signature": ("optimisers", "def build(self, parameters): pass", "Mine",
                              r"does not take \(self, parameters, lr, weight_decay\): let it"),
    "section's signature": ("sections", "def render(self): pass", "Mine",
                            r"render that does not take \(self, run\): let it"),
    "observer's method": ("observers", "def run_finish(self, result, run): pass", "Mine",
                          "which pbkd does not call: name it run_finished"),
    "hook's name": ("scheduler", "def schedule(self, costs, workers): pass", "Mine",
                    "unknown hook 'register_scheduler'. Did you mean 'register_schedulers'?"),
    "taken name": ("schedulers", 'name = "greedy"\n    def schedule(self, costs, workers): pass',
                   "Mine", "'greedy', a name already taken by 'greedy': choose another"),
}  # fmt: skip
RUN = {
    "partitioner's answer": ("partitioners", """
    def accepts(self, teacher): return True
    def partition(self, teacher): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))""",
        (), "partitioner 'mine' .* cuts wrongly: .* the segments skip, repeat or reorder"),
    "partitioner's exception": ("partitioners", """
    def accepts(self, teacher): return True
    def partition(self, teacher): return teacher.layer9""",
        (), r"partitioner 'mine' .* failed in partition on VGG \(AttributeError: .*layer9"),
    "builder's answer": ("builders", """
    def build(self, segment, block): return nn.Conv2d(block.input_shape[0], 3, 1)""",
        (), r"builder 'mine' .* with output shape \(3, 8, 8\) instead of"),
    "builder's mutation": ("builders", """
    def build(self, segment, block):
        with torch.no_grad():
            next(segment.parameters()).mul_(0.5)""",
        (), "builder 'mine' .* changes the teacher's segment .* must work on a copy"),
    "loss's answer": ("losses", """
    def error(self, output, target): return (output - target).abs()""",
        (), "loss 'mine' .* error returns a tensor of shape .*: take its mean"),
    "loss's option": ("losses", """
    beta: float = 1.0
    def error(self, output, target): return (output - target).abs().mean()""",
        ("distill.loss.betta=2",), "'distill.loss.betta'. Did you mean 'beta'?"),
    "scheduler's option": ("schedulers", """
    share: float = 0.5
    def schedule(self, costs, workers): pass""",
        ("scheduler.share=much",), "'scheduler.share': Value 'much' .* Float"),
    "model's exception": ("models", """
def build(): raise ValueError("no width")
MODEL = ZooModel("mine", build, "mine", (0.5,), (0.5,))""",
        ("teacher=mine", "teacher.weights=random"), "network 'mine' cannot be built .* no width"),
    "data's answer": ("data", """
    def load(self): return None""",
        (), "data 'mine' .* returned nothing: return a pbkd.data.Dataset"),
    "data's exception": ("data", """
    def load(self): return open("nowhere.bin")""",
        (), r"data 'mine' .* in load failed \(FileNotFoundError"),
    "augmentation's mutation": ("augmentations", """
    def augment(self, images, generator): return images.mul_(2)""",
        (), "augmentation 'mine' .* modifies its input: let it augment a copy"),
    "augmentation's answer": ("augmentations", """
    def augment(self, images, generator): return images[:, :, 1:]""",
        (), r"augmentation 'mine' .* must return images \(4, 1, 8, 8\)"),
    "optimiser's answer": ("optimisers", """
    def build(self, parameters, lr, weight_decay): return None""",
        (), "optimiser 'mine' .* must return a torch.optim.Optimizer"),
    "lr-schedule's answer": ("lr_schedules", """
    def factor(self, step, steps): return 2.0""",
        (), "lr-schedule 'mine' .* must give a factor of the peak learning rate"),
}  # fmt: skip
SLOW_RUN = {
    "scheduler's answer": ("schedulers", """
    def schedule(self, costs, workers): return Schedule(((Job((costs[0].name,)),),))""",
        (), r"scheduler 'mine' .* failed in schedule \(the schedule drops the blocks"),
    "scheduler's exception": ("schedulers", """
    def schedule(self, costs, workers): raise KeyError("conv1")""",
        (), r"scheduler 'mine' .* failed in schedule \(KeyError: 'conv1'\)"),
    "selector's answer": ("selectors", """
    def select(self, options, limits): return {}""",
        ("target.macs=0.5",), "selector 'mine' .* selects nothing for the block .* mend its"),
}  # fmt: skip
CHECKED = {
    "scheduler that hangs": ("schedulers", """
    def schedule(self, costs, workers): time.sleep(5)""",
        r"scheduler mine .* did not return in 0\.5 s: it is in schedule, .*mine\.py:\d+"),
    "scheduler's mutation": ("schedulers", """
    def schedule(self, costs, workers):
        costs.pop()""",
        "scheduler mine .* schedule changes its arguments in place"),
    "meter's exception": ("meters", """
    def open(self): raise OSError("no bus")""",
        r"meter mine .* the meter fails \(OSError: no bus\)"),
    "launcher's answer": ("launchers", """
    def launch(self, work, folder, workers): pass""",
        "launcher mine .* launch returned after the work of 0 ranks"),
    "observer's exception": ("observers", """
    def run_started(self, run): raise KeyError("seed")""",
        "observer mine .* run_started of RunInfo raises KeyError: 'seed'"),
    "exporter's exception": ("exporters", """
    def write(self, subject, path): raise ValueError("no operator")
    def read(self, path, subject): pass""",
        r"exporter 'mine' .* failed in write \(ValueError: no operator\): choose another"),
    "section's exception": ("sections", """
    def render(self, run): return run.missing""",
        r"section 'mine' .* failed in render \(AttributeError: .*missing"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(hook: str, body: str, registered: str = "Mine") -> None:
    lines = body if body.startswith("\n") else f"\n    {body}"
    Path("mine.py").write_text(HEAD + lines + "\n" + HOOK.format(hook, registered))


def said(*arguments: str) -> str:
    """Return what a command says that must fail, in one sentence."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 1
    if isinstance(result.exception, PbkdError):
        return str(result.exception)
    assert isinstance(result.exception, SystemExit), result.exception
    return " ".join(result.output.split())


def expect(text: str, told: str) -> None:
    assert "mine" in text or "'distill." in text or "'scheduler." in text
    assert "Traceback" not in text
    assert "\n" not in text
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(text)


@pytest.mark.parametrize(("hook", "body", "registered", "told"), REGISTERED.values(),
                         ids=REGISTERED.keys())  # fmt: skip
def test_what_is_registered_wrongly(hook: str, body: str, registered: str, told: str) -> None:
    write(hook, body, registered)
    expect(said("run", "--print-config", "--plugin", "mine.py"), told)


@pytest.mark.parametrize(
    ("hook", "body", "changes", "told"),
    [
        *(pytest.param(*case, id=name) for name, case in RUN.items()),
        *(pytest.param(*case, id=name, marks=pytest.mark.slow) for name, case in SLOW_RUN.items()),
    ],
)
def test_what_fails_before_a_run(hook: str, body: str, changes: tuple[str, ...], told: str) -> None:
    write(hook, body, "MODEL" if hook == "models" else "Mine")
    expect(said("run", "--plan", "--plugin", "mine.py", *changes), told)


@pytest.mark.parametrize(("hook", "body", "told"), CHECKED.values(), ids=CHECKED.keys())
def test_what_the_kit_finds(
    monkeypatch: pytest.MonkeyPatch, hook: str, body: str, told: str
) -> None:
    limit = 0.5 if "sleep" in body else 60.0
    monkeypatch.setattr(pbkd.testing.plugin, "LIMIT", limit)
    write(hook, body)
    expect(said("plugins", "check", "mine.py"), told)
