"""Mistakes on the command line: one sentence each, and an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.command_line import Pbkd, mistake


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
        (["run", "--plugin", "none.py"], "there is no file 'none.py'."),
        (["run", "plugins=[none.py]"], "there is no file 'none.py'."),
        (["run", "teacher=vgg61"], "unknown model 'vgg61'."),
        (["run", "teacher=vgg16", "data=synthetic"], "the teacher 'vgg16' has no trained weights"),
        (["run", "teacher.weights=none.pt"], "there is no file of weights 'none.pt'."),
        (["run", "data=digit"], "unknown data 'digit'. Did you mean 'digits'?"),
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
        (["zoo", "compress", "timm:vgg11"], "no recipe is recorded for 'timm:vgg11': compress it"),
        (["zoo", "compress", "digits-vgg", "worker=2"], "unknown key 'worker'. Did you mean"),
        (["zoo", "add", "nowhere"], "'nowhere' holds no finished run: name the folder"),
        (["zoo", "verify", "vgg61"], "unknown model or student 'vgg61'. Did you mean"),
        (["zoo", "verify", "seed=1"], "'seed' cannot be set here: set only data, such as"),
        (["zoo", "train", "vgg16", "epoch=1"], "unknown key 'epoch'. Did you mean 'epochs'?"),
        (["compare", "none"], "'none' holds no finished run: name the folder of a run"),
        (["baseline", "none"], "'none' holds no finished run: name the folder of a run"),
        (["baseline", "none", "--lr", "0"], "--lr is 0.0, but must be above 0 and finite."),
        (["zoo", "train", "vgg16"], "the data 'digits' has 1 channels, but the teacher"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    pbkd: Pbkd, arguments: list[str], told: str
) -> None:
    assert mistake(pbkd(*arguments)).startswith(told)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("arguments", [["walk"], ["run", "--fast"], ["zoo", "show"], ["run", "-c"]])
def test_a_wrong_command_line_is_exit_code_2_too(pbkd: Pbkd, arguments: list[str]) -> None:
    ended = pbkd(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error" in ended.err
    assert "Traceback" not in ended.err


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
