"""The formats of exports: how each is written, and read again for comparison."""

from __future__ import annotations

import re
import runpy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.core.files import write_file
from pbkd.errors import ExportError
from pbkd.models.plain.code import FIRST_WORDS, network_code, own_weights
from pbkd.models.plain.tracing import trace_plain
from pbkd.models.weights import fit_weights, read_weights, write_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.data.preparation import Preparation

    Network = Callable[[Tensor], Tensor]


__all__ = ["FORMATS", "Format", "Subject"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is exported.

    Attributes:
        network: The network, in evaluation mode, on the CPU.
        preparation: How a picture becomes the student's input.
        class_names: The names of the classes.
        example: A batch of the network's input.
        input_name: The name of the input.
    """

    network: nn.Module
    preparation: Preparation
    class_names: tuple[str, ...] | None
    example: Tensor
    input_name: str


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        suffix: The suffix of its file.
        write: Writes a subject to a path, and returns the files and a remark, if there is one.
        read: Reads the file; the subject is for a file that holds weights alone.
        is_program: Whether it holds operations, of which the preparation can be a part.
    """

    suffix: str
    write: Callable[[Subject, Path], tuple[list[Path], str | None]]
    read: Callable[[Path, Subject], Network]
    is_program: bool = True


def _write_safetensors(subject: Subject, path: Path) -> tuple[list[Path], str | None]:
    code = _code_beside(path)
    _check_free(code)
    try:
        plain = trace_plain(subject.network, subject.preparation.image_shape)
        text = network_code(plain, subject.preparation, subject.class_names, path.name)
        weights = own_weights(plain)
    except ExportError as error:
        write_weights(path, subject.network.state_dict())
        return [path], f"It holds weights alone: {error}"
    write_weights(path, weights)
    write_file(code, text.encode())
    return [path, code], None


def _read_safetensors(path: Path, subject: Subject) -> Network:
    if set(read_weights(path)) != set(subject.network.state_dict()):
        return _read_code(_code_beside(path), subject)
    fit_weights(subject.network, read_weights(path), path)
    return subject.network


def _code_beside(path: Path) -> Path:
    """Return the path of the code for a file of weights; a program can import it by its name."""
    return path.with_name(re.sub(r"\W", "_", path.stem, flags=re.ASCII) + ".py")


def _check_free(code: Path) -> None:
    """Refuse to write over a program of the user's."""
    if code.is_file() and not code.read_bytes().startswith(FIRST_WORDS.encode()):
        raise ExportError(f"'{code}' exists and was not exported by pbkd: choose another name.")


def _write_code(subject: Subject, path: Path) -> tuple[list[Path], str | None]:
    _check_free(path)
    plain = trace_plain(subject.network, subject.preparation.image_shape)
    weights = path.with_suffix(".pth")
    text = network_code(plain, subject.preparation, subject.class_names, weights.name)
    torch.save(own_weights(plain), weights)
    write_file(path, text.encode())
    return [path, weights], None


def _read_code(path: Path, _subject: Subject) -> Network:
    network: Network = runpy.run_path(str(path))["load"]()  # leaves no bytecode beside the file
    return network


def _write_onnx(subject: Subject, path: Path) -> tuple[list[Path], str | None]:
    import onnxscript  # noqa: F401 - torch says less clearly that it is missing

    torch.onnx.export(
        subject.network,
        (subject.example,),
        path,
        input_names=[subject.input_name],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return [path], None


def _read_onnx(path: Path, subject: Subject) -> Network:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = subject.input_name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def _write_export(subject: Subject, path: Path) -> tuple[list[Path], str | None]:
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(subject.network, (subject.example,), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return [path], None


def _read_export(path: Path, _subject: Subject) -> Network:
    return torch.export.load(path).module()


def _write_script(subject: Subject, path: Path) -> tuple[list[Path], str | None]:
    traced = torch.jit.trace(subject.network, subject.example)  # type: ignore[no-untyped-call]
    traced.save(path)
    return [path], None


def _read_script(path: Path, _subject: Subject) -> Network:
    loaded: Network = torch.jit.load(path)  # type: ignore[no-untyped-call]
    return loaded


FORMATS = {
    "safetensors": Format(".safetensors", _write_safetensors, _read_safetensors, is_program=False),
    "pytorch": Format(".py", _write_code, _read_code, is_program=False),
    "onnx": Format(".onnx", _write_onnx, _read_onnx),
    "torch-export": Format(".pt2", _write_export, _read_export),
    "torchscript": Format(".pt", _write_script, _read_script),
}
