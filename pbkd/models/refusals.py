"""Networks that cannot be compressed, each refused by name and with what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy

from pbkd.errors import TeacherError

__all__ = ["check_kind", "check_tensors"]

_SHARDED = ("FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine")
_QUANTIZED = (
    "torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.qat",
    "torch.ao.nn.intrinsic.qat", "torch.ao.quantization", "torchao", "bitsandbytes",
)  # fmt: skip
_NOT_QUANTIZED = ("QuantStub", "DeQuantStub", "QuantWrapper", "FloatFunctional")


def check_kind(given: Any) -> None:
    """Check that an object is a torch module whose layers can be replaced.

    Raises:
        TeacherError: If it is something else.
    """
    name = type(given).__name__
    if isinstance(given, torch.jit.ScriptModule):
        raise TeacherError(
            f"the teacher is TorchScript ({name}), whose layers cannot be replaced: give the"
            " network that was scripted or traced."
        )
    if name == "ExportedProgram" or (isinstance(given, fx.GraphModule) and _is_exported(given)):
        raise TeacherError(
            "the teacher is a program of torch.export, which has operations instead of layers: give"
            " the network that was exported."
        )
    if any(base.__name__ in _SHARDED for base in type(given).__mro__):
        raise TeacherError(
            f"the teacher is sharded ({name}): gather its full state dict, and load that into a"
            " network that is not wrapped."
        )
    if not isinstance(given, nn.Module):
        raise TeacherError(f"the teacher is {_description(given)}.")


def check_tensors(network: nn.Module) -> None:
    """Check that a network has its weights, all of them plain numbers in memory.

    Raises:
        TeacherError: If it is quantized, or a tensor is uninitialised, sharded or a meta tensor.
    """
    for path, module in network.named_modules():
        kind = type(module)
        if isinstance(module, torch.jit.ScriptModule):
            raise _unusable(
                f"has a part '{path}' that is TorchScript ({kind.__name__})",
                "give the network with the module that was scripted or traced",
            )
        if kind.__module__.startswith(_QUANTIZED) and kind.__name__ not in _NOT_QUANTIZED:
            raise _unusable(
                f"has the quantized layer '{path}' ({kind.__name__})",
                "compress the float network, and quantize the student",
            )
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if is_lazy(tensor):
            raise _unusable(
                f"has no value of '{name}' yet, of a lazy layer",
                "call it once on a batch of images, or load its weights",
            )
        if tensor.is_meta:
            raise _unusable(
                f"has its weight '{name}' on the meta device, without values",
                "build it on the CPU and load its weights",
            )
        if type(tensor).__name__ == "DTensor":
            raise _unusable(
                f"has its weight '{name}' sharded over processes",
                "gather its full state dict, and load that into a network that is not sharded",
            )
        if isinstance(tensor, nn.Parameter) and not tensor.is_floating_point():
            raise _unusable(
                f"has the weight '{name}' of type {str(tensor.dtype).removeprefix('torch.')}",
                "give a network with floating-point weights",
            )


def _unusable(what: str, cure: str) -> TeacherError:
    return TeacherError(f"the teacher {what}: {cure}.")


def _is_exported(graph: fx.GraphModule) -> bool:
    """Whether the operations are torch's internal ones, as torch.export leaves them."""
    return any(isinstance(node.target, torch._ops.OpOverload) for node in graph.graph.nodes)


def _description(given: Any) -> str:
    """Say what an object is that is no torch module, and what to give instead."""
    name = type(given).__name__
    if isinstance(given, FunctionType):
        return f"the function {given.__name__}, not a network: give what it returns"
    if isinstance(given, type):
        return f"the class {given.__name__}, not a network: call it and load its trained weights"
    if isinstance(given, Mapping):
        return "a state dict or checkpoint, not a network: build the network and load it there"
    if isinstance(given, str):
        return f"the text '{given}', not a network: build the network and load its weights"
    if name in ("ModelProto", "InferenceSession"):
        return f"an ONNX model ({name}), not a torch module: give the network that was exported"
    for attribute in ("module", "model", "module_", "net", "network"):
        if isinstance(getattr(given, attribute, None), nn.Module):
            return f"of type {name}, not a torch module: give its attribute '{attribute}'"
    return f"of type {name}, not a torch module"
