"""Programs of torch.export in 8-bit integers, and networks compiled by Inductor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd import hookimpl
from pbkd.errors import ConfigError, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn
    from torch.export import ExportedProgram
    from torch.fx import GraphModule

    from pbkd.protocols import Engine, Exporter, ExportSubject

PBKD_CONTRACT = 2

_AT_ONCE = 64
_SOURCES = ("stack_trace", "nn_module_stack", "from_node", "torch_fn", "source_fn_stack")


@dataclass(frozen=True)
class Pt2eExporter:
    """Quantise with torchao's PT2E, static and per channel, for Inductor on x86 processors."""

    name: ClassVar[str] = "pt2e"
    suffix: ClassVar[str] = ".int8.pt2"
    float_format: ClassVar[str] = "torch-export"

    def write(self, subject: ExportSubject, path: Path) -> tuple[list[Path], None]:
        """Quantise the network, and write it with a batch of any size.

        Raises:
            ExportError: The package torchao is missing.
        """
        try:
            program = _quantised(subject)
        except ImportError as error:
            raise ExportError(f"'pt2e' {_missing(error)}") from error
        torch.export.save(program, path)
        return [path], None

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Load the program, and have Inductor compile it.

        Raises:
            ExportError: There is no C++ compiler.
        """
        return _compiled(_loaded(path))


@dataclass(frozen=True)
class Inductor:
    """PyTorch on the CPU, compiled by Inductor with frozen weights."""

    name: ClassVar[str] = "inductor"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    suffixes: ClassVar[tuple[str, ...]] = (".pt2",)

    def prepare(
        self,
        network: nn.Module,
        images: Tensor,  # noqa: ARG002 - it is compiled when it is called
        threads: int,  # noqa: ARG002 - torch has them
    ) -> Callable[[Tensor], Tensor]:
        """Compile the network for batches of this size.

        Raises:
            ConfigError: There is no C++ compiler.
        """
        try:
            return _compiled(network)
        except ExportError as error:
            raise ConfigError(str(error)) from error

    def read(self, path: Path, threads: int) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Load a program of torch.export, and have Inductor compile it."""
        return _compiled(_loaded(path))


def _quantised(subject: ExportSubject) -> ExportedProgram:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    shapes = ({0: torch.export.Dim("batch")},)
    # Inductor's integer convolutions return channels-last tensors, and expect no others to follow.
    network = subject.network.to(memory_format=torch.channels_last)
    program = torch.export.export(network, (subject.example,), dynamic_shapes=shapes)
    quantiser = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(program.module(), quantiser)
    if subject.images is None:
        raise ExportError("'pt2e' needs images of the run's data.")
    images = subject.images.calibration
    for first in range(0, len(images), _AT_ONCE):
        prepared(images[first : first + _AT_ONCE])
    converted = convert_pt2e(prepared)
    _drop_unused(converted)
    written = torch.export.export(converted, (subject.example,), dynamic_shapes=shapes)
    for node in written.graph.nodes:
        for key in _SOURCES:  # they name files of this machine, and are as large as small weights
            node.meta.pop(key, None)
    return written


def _drop_unused(module: GraphModule) -> None:
    """Remove the float weights, which the quantised graph does not use, so that none is saved."""
    used = {node.target for node in module.graph.nodes if node.op == "get_attr"}
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name in {name for name, _ in tensors} - used:
        holder, _, attribute = name.rpartition(".")
        delattr(module.get_submodule(holder), attribute)


def _loaded(path: Path) -> nn.Module:
    import torch.ao.quantization.fx._decomposed  # registers the operators

    return torch.export.load(path).module()


def _compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function of a batch that compiles for each size of the batch, at its first call.

    Raises:
        ExportError: There is no C++ compiler.
    """
    from torch._inductor import config
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ExportError("Inductor needs a C++ compiler, such as g++: install one.") from error
    # For batches of any size, its integer convolutions get strides that they do not expect.
    compiled: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False)
    known = set()

    def run(batch: Tensor) -> Tensor:
        with torch.no_grad():
            if batch.shape in known:
                return compiled(batch)
            known.add(batch.shape)
            # Given as an option of torch.compile, it does not reach the passes for integers.
            with config.patch(freezing=True):
                return compiled(batch)

    return run


def _missing(error: ImportError) -> str:
    package = (error.name or "").partition(".")[0]
    return f"needs the package {package}: pip install 'pbkd[pt2e]'."


@hookimpl
def register_exporters() -> list[type[Exporter]]:
    """Register the exporter `pt2e`."""
    return [Pt2eExporter]


@hookimpl
def register_engines() -> list[type[Engine]]:
    """Register the engine `inductor`."""
    return [Inductor]
