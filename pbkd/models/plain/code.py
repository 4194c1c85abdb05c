"""A plain network as one file of Python that needs torch alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.errors import ExportError
from pbkd.models.plain.layers import layer_options
from pbkd.models.plain.picture_code import picture_code
from pbkd.models.plain.statements import attribute_names, forward_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, fx

    from pbkd.data.preparation import Preparation

__all__ = ["FIRST_WORDS", "network_code", "own_weights"]

FIRST_WORDS = '"""A student that pbkd made'
"""How the code begins."""


def network_code(
    plain: fx.GraphModule,
    preparation: Preparation,
    class_names: tuple[str, ...] | None,
    weights: str,
) -> str:
    """Write a network as Python code: a module, and the functions `load` and `prepare`.

    Args:
        plain: What `trace_plain` returns.
        preparation: How a picture becomes its input.
        class_names: The names of its classes.
        weights: The name of the file of weights beside the code, `.pth` or `.safetensors`.

    Returns:
        The text of the file.
    """
    names = attribute_names(plain)
    body = list(forward_lines(plain, names))
    imports = ["import operator"] if any("operator." in line for line in body) else []
    read = _SAFETENSORS if weights.endswith(".safetensors") else _TORCH
    return _FILE.format(
        imports="\n".join([*imports, "from pathlib import Path"]),
        classes=_classes(class_names),
        shape=", ".join(map(str, preparation.image_shape)),
        layers="\n".join(f"        {line}" for line in _layers(plain, names)),
        body="\n".join(f"        {line}" for line in body),
        weights=repr(weights),
        read=read,
        prepare=picture_code(preparation),
    )


def own_weights(plain: fx.GraphModule) -> dict[str, Tensor]:
    """Return the weights of a plain network by the names that its code gives them."""
    weights: dict[str, Tensor] = {}
    for path, name in attribute_names(plain).items():
        value: Any = plain
        for part in path.split("."):
            value = getattr(value, part)
        if hasattr(value, "state_dict"):
            weights |= {f"{name}.{key}": tensor for key, tensor in value.state_dict().items()}
        else:
            weights[name] = value.detach()
    return weights


def _classes(names: tuple[str, ...] | None) -> str:
    if names is None:
        return "CLASS_NAMES = None"
    return "\n".join(["CLASS_NAMES = [", *(f"    {name!a}," for name in names), "]"])


def _layers(plain: fx.GraphModule, names: Mapping[str, str]) -> Iterator[str]:
    """Write the statements that build the layers and make room for the tensors."""
    parameters = dict(plain.named_parameters(remove_duplicate=False))
    buffers = dict(plain.named_buffers(remove_duplicate=False))
    for path, name in names.items():
        if path in parameters:
            yield f"self.{name} = nn.Parameter(torch.empty({tuple(parameters[path].shape)}))"
        elif path in buffers:
            shape, dtype = tuple(buffers[path].shape), buffers[path].dtype
            yield f'self.register_buffer("{name}", torch.empty({shape}, dtype={dtype}))'
        else:
            layer = plain.get_submodule(path)
            options = layer_options(layer)
            if options is None:
                kind = type(layer).__name__
                raise ExportError(f"the layer '{path}' ({kind}) cannot be written as code.")
            written = ", ".join(f"{key}={value!r}" for key, value in options.items())
            yield f"self.{name} = nn.{type(layer).__name__}({written})"


_SAFETENSORS = """\
    from safetensors.torch import load_file

    network.load_state_dict(load_file(weights))
"""

_TORCH = """\
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
"""

_FILE = (
    f"{FIRST_WORDS}, in plain PyTorch: pbkd is not needed.\n"
    + '''\

    network = load()
    logits = network(prepare("picture.jpg"))
    number = int(logits.argmax())
    print(CLASS_NAMES[number] if CLASS_NAMES else number)
"""

{imports}

import torch
from torch import nn
from torch.nn import functional as F

{classes}


class Student(nn.Module):
    """From images, float32 (batch, {shape}) as `prepare` makes them, to logits."""

    def __init__(self):
        super().__init__()
{layers}

    def forward(self, x):
{body}


def load(weights=Path(__file__).with_name({weights})):
    """Build the network with its trained weights, in evaluation mode."""
    network = Student()
{read}    return network.eval().to(memory_format=torch.channels_last)


{prepare}'''
)
