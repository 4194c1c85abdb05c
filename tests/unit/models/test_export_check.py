"""Exporters of plugins that are wrong: each is told in one sentence that names it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from pbkd.errors import ConfigError, ExportError, PbkdError, UnknownNameError
from pbkd.models.export import create_exporter, export
from pbkd.plugin.registry import build_registry
from pbkd.plugin.slots import find_fault
from pbkd.protocols import ExportSubject
from pbkd.testing import check_exporter, tiny_teacher
from pbkd.testing.exporters import _PREPARATION, _images

WHO = f"the exporter 'state' of the plugin '{__name__}'"


@dataclass(frozen=True)
class State:
    """Writes a state dict; the subclasses below are wrong, each in its own way."""

    name: ClassVar[str] = "state"
    suffix: ClassVar[str] = ".state"
    weights_only: ClassVar[bool] = True
    level: int = 1

    def write(self, subject: ExportSubject, path: Path) -> Any:
        torch.save(subject.network.state_dict(), path)
        return [path], None

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Any]:
        subject.network.load_state_dict(torch.load(path))
        return subject.network


@pytest.fixture
def student() -> nn.Module:
    network = tiny_teacher().eval()
    vars(network).update(preparation=_PREPARATION, class_names=("a", "b", "c", "d"))
    return network


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[logging.LogRecord]:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    return records


def test_a_right_one_writes_file_and_description(student: nn.Module, tmp_path: Path) -> None:
    check_exporter(State())
    done = export(student, State(), tmp_path / "net")
    assert done.files == (tmp_path / "net.state", tmp_path / "net.state.json")
    assert (done.likeness.difference, done.note) == (0, None)
    again = export(student, State(), tmp_path / "net.state")
    assert again.path == done.path


class Nothing(State):
    def write(self, *_: Any) -> Any:
        return None


class Silent(State):
    def write(self, _: ExportSubject, path: Path) -> Any:
        return [path], None


class Empty(State):
    def write(self, _: ExportSubject, path: Path) -> Any:
        path.touch()
        return [path], None


class Elsewhere(State):
    def write(self, subject: ExportSubject, path: Path) -> Any:
        return super().write(subject, path.with_suffix(".other"))


class OnePath(State):
    def write(self, subject: ExportSubject, path: Path) -> Any:
        return super().write(subject, path)[0][0], None


class Strings(State):
    def write(self, subject: ExportSubject, path: Path) -> Any:
        super().write(subject, path)
        return [str(path)], None


class Remark(State):
    def write(self, subject: ExportSubject, path: Path) -> Any:
        return super().write(subject, path)[0], 3


class Omits(State):
    def write(self, subject: ExportSubject, path: Path) -> Any:
        super().write(subject, path)
        return [], None


class Raises(State):
    def write(self, *_: Any) -> Any:
        warnings.warn("an exporter's own affair", stacklevel=1)
        logging.getLogger("torch.onnx").error("another one")
        raise RuntimeError("no such operator\nand forty lines of a stack")


class Exits(State):
    def write(self, *_: Any) -> Any:
        raise SystemExit("done")


class Lacks(State):
    def write(self, *_: Any) -> Any:
        raise ImportError("no module", name="coremltools")


class Halves(State):
    """Changes the network before it writes it."""

    def write(self, subject: ExportSubject, path: Path) -> Any:
        with torch.no_grad():
            for parameter in subject.network.parameters():
                parameter.mul_(0.5)
        return super().write(subject, path)


class Forgets(State):
    """Gives the network itself instead of the file's."""

    def read(self, _: Path, subject: ExportSubject) -> Any:
        return subject.network


class ReadsNothing(State):
    def read(self, *_: Any) -> Any:
        return None


class ReadsBadly(State):
    def read(self, path: Path, _: ExportSubject) -> Any:
        return torch.load(path)["missing"]


def answering(change: Callable[[Tensor], Any]) -> type[State]:
    class Changed(State):
        def read(self, path: Path, subject: ExportSubject) -> Any:
            network = super().read(path, subject)
            return lambda images: change(network(images))

    return Changed


OTHER = "gives other outputs than the student, by .* of .*: it is not to be used"


@pytest.mark.parametrize(
    ("exporter", "told"),
    [
        (Nothing, f"{WHO} returns from write NoneType, not the paths and a remark"),
        (Silent, f"{WHO} wrote no '.*net.state': its write must, or raise"),
        (Empty, f"{WHO} wrote nothing to '.*net.state'"),
        (Elsewhere, f"{WHO} wrote no '.*net.state'"),
        (OnePath, f"{WHO} returns from write PosixPath, not a list of paths"),
        (Strings, f"{WHO} returns from write paths that are not all of the type pathlib.Path"),
        (Remark, f"{WHO} returns from write int as its remark, not text or None"),
        (Omits, f"{WHO} returns from write paths without '.*net.state'"),
        (Raises, rf"{WHO} failed in write \(RuntimeError: no such operator\): choose another fo"),
        (Exits, rf"{WHO} failed in write \(SystemExit: done\)"),
        (Lacks, "'state' needs the package coremltools: install it"),
        (Halves, f"what {WHO} wrote {OTHER}"),
        (Forgets, OTHER),
        (ReadsNothing, rf"{WHO} failed in read \(TypeError: 'NoneType' object is not callable"),
        (ReadsBadly, rf"{WHO} failed in read \(KeyError: 'missing'\)"),
        (answering(lambda logits: 2 * logits), OTHER),
        (answering(lambda logits: logits * float("nan")), OTHER),
        (answering(lambda logits: logits.numpy()), "read a function that gives ndarray, no tensor"),
        (answering(lambda logits: logits[:1]), r"logits of the shape \(1, 4\) for \(5, 4\)"),
        (answering(lambda logits: logits.mean()), r"logits of the shape \(\) for \(1, 4\)"),
        (answering(lambda logits: logits.argmax(1)), r"logits of the shape \(1,\) for \(1, 4\)"),
    ],
)
def test_a_wrong_one_is_told_in_a_sentence_and_keeps_the_student(
    student: nn.Module,
    exporter: type[State],
    told: str,
    tmp_path: Path,
    logged: list[logging.LogRecord],
) -> None:
    before = {key: value.clone() for key, value in student.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ExportError, match=told) as error:
            export(student, exporter(), tmp_path / "net")
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())
    assert not logged
    assert not logging.root.manager.disable
    assert not (tmp_path / "net.state.json").exists()


def test_an_earlier_file_does_not_hide_that_nothing_was_written(
    student: nn.Module, tmp_path: Path
) -> None:
    export(student, State(), tmp_path / "net")
    with pytest.raises(ExportError, match="wrote nothing to"):
        export(student, Silent(), tmp_path / "net")


@pytest.mark.parametrize("suffix", ["onnx", "", ".", "/x", ".a/b"])
def test_a_suffix_is_one(student: nn.Module, tmp_path: Path, suffix: str) -> None:
    wrong = type("Wrong", (State,), {"suffix": suffix})
    with pytest.raises(ExportError, match="it must be one such as '.onnx'"):
        export(student, wrong(), tmp_path / "net")


def test_names_options_and_missing_attributes_are_told() -> None:
    registry = build_registry()
    for kind, options, error, told in (
        ("onx", {}, UnknownNameError, "unknown exporter 'onx'. Did you mean 'onnx'"),
        (
            "onnx",
            {"opst": "20"},
            ConfigError,
            "'exporter.opst'. Did you mean 'opset'",
        ),
        ("onnx", {"opset": "many"}, ConfigError, "'exporter.opset'"),
        ("onnx", {"name": "x"}, ConfigError, "'name' is no option of an exporter"),
    ):
        expected: type[PbkdError] = error
        with pytest.raises(expected, match=told):
            create_exporter(registry, kind, options)
    assert vars(create_exporter(registry, "onnx", {"opset": "20"})) == {"opset": 20}
    assert find_fault("exporter", type("Bare", (), {"name": "x"})) is not None
    without = type("Without", (), {"name": "x", "write": State.write, "read": State.read})
    assert find_fault("exporter", without) == "has no attribute suffix, a text: add it to the class"


class Sixteenths(State):
    """Rounds the weights to sixteenths."""

    weights_only: ClassVar[bool] = False
    float_format: ClassVar[str] = "state"

    def write(self, subject: ExportSubject, path: Path) -> Any:
        assert subject.images is not None
        seen.append(subject.images.calibration)
        state = subject.network.state_dict()
        torch.save({key: (16 * value).round() / 16 for key, value in state.items()}, path)
        return [path], None


seen: list[Tensor] = []


def test_a_format_that_changes_outputs_is_compared_by_classes(
    student: nn.Module, tmp_path: Path
) -> None:
    images = _images()
    done = export(student, Sixteenths(), tmp_path / "net", images=images)
    agreed = done.execute(images.validation).argmax(1) == student(images.validation).argmax(1)
    assert done.likeness.agreement == agreed.double().mean() > 0.8
    assert f"% of {len(images.validation)} validation images the student's class" in str(
        done.likeness
    )
    with pytest.raises(
        ExportError, match="gives only .* of 64 validation images the student's class"
    ):
        export(student, Backwards(), tmp_path / "net", images=images)
    with pytest.raises(
        ExportError, match="'state' is fitted to images of the run, which are not at"
    ):
        export(student, Sixteenths(), tmp_path / "net")


class Backwards(Sixteenths):
    def read(self, path: Path, subject: ExportSubject) -> Any:
        network = super().read(path, subject)
        return lambda images: -network(images)


def test_it_gets_images_in_the_form_of_the_input(student: nn.Module, tmp_path: Path) -> None:
    pixels = torch.randint(256, (9, 3, 8, 8), dtype=torch.uint8)
    assert _PREPARATION.normalization
    images = replace(_images(), calibration=_PREPARATION.normalization.apply(pixels, "cpu"))
    export(student, Sixteenths(), tmp_path / "net", with_preparation=True, images=images)
    assert torch.equal(seen[-1], pixels.permute(0, 2, 3, 1))
