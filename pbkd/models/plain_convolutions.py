"""Convolutions with a forward of their own, such as weight-standardised ones, made plain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


__all__ = ["SamePadding", "plain_convolutions"]

_TOLERANCE = 1e-5
_PROBES = ((2, 4, 7), (1, 7, 6))  # images, height and width, beside the kernel's own extent


class SamePadding(nn.Module):
    """Zero padding after which a convolution gives ceil(size / stride) pixels, as TensorFlow's."""

    def __init__(
        self, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
    ) -> None:
        """Take the geometry of the convolution that follows: (height, width) each."""
        super().__init__()
        self.extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
        self.stride = tuple(stride)

    def forward(self, x: Tensor) -> Tensor:
        """Pad images (N, C, H, W), the larger half below and to the right."""
        return _pad_same(x, self.extent, self.stride)


def _pad_same(x: Tensor, extent: Sequence[int], stride: Sequence[int]) -> Tensor:
    sizes = zip(x.shape[-2:], extent, stride, strict=True)
    rows, columns = (max((-(-size // by) - 1) * by + e - size, 0) for size, e, by in sizes)
    sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return functional.pad(x, sides)


fx.wrap("_pad_same")  # its arithmetic depends on the size of the images


@torch.no_grad()
def plain_convolutions(network: nn.Module) -> list[str]:
    """Replace convolutions with a forward of their own by equivalent `nn.Conv2d`s.

    A module with a four-dimensional `weight` is replaced if its forward convolves its input once,
    with weights that do not depend on the input, and returns the result; the input may be padded as
    by `SamePadding`. The replacement must have the same outputs on random images.

    Args:
        network: The network, in evaluation mode, in float32 and on the CPU; it is changed.

    Returns:
        The names of the classes that were replaced, each once.
    """
    names: dict[str, None] = {}
    plain: dict[nn.Module, nn.Module] = {}
    for path, module in list(network.named_modules(remove_duplicate=False)):
        if not path or not _is_candidate(module):
            continue
        if module not in plain:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                plain[module] = _plain(module) or module
        if plain[module] is not module:
            network.set_submodule(path, plain[module])
            names[type(module).__name__] = None
    return list(names)


def _is_candidate(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    own_forward = not type(module).__module__.startswith("torch.")
    return own_forward and isinstance(weight, nn.Parameter) and weight.ndim == 4


def _plain(module: Any) -> nn.Module | None:
    """Return an equivalent of a module made of `nn.Conv2d`; None if there is none."""
    channels = module.weight.shape[1] * int(getattr(module, "groups", 1))
    probes = [
        torch.randn(n, channels, *(side + k for side, k in zip(hw, module.weight.shape[2:])))  # noqa: B905
        for n, *hw in _PROBES
    ]
    try:
        calls = [_Recorder() for _ in probes]
        outputs = []
        for probe, recorder in zip(probes, calls, strict=True):
            with recorder:
                outputs.append(module(probe.clone()))
        convolution = _from_calls([recorder.calls for recorder in calls])
        for candidate in _candidates(convolution):
            if all(map(_same, map(candidate, probes), outputs)):
                return candidate
    except Exception:  # the module takes something else than one image tensor
        return None
    return None


def _candidates(convolution: nn.Conv2d | None) -> list[nn.Module]:
    if convolution is None:
        return []
    geometry = (convolution.kernel_size, convolution.stride, convolution.dilation)
    if convolution.padding != (0, 0):
        return [convolution]
    return [convolution, nn.Sequential(SamePadding(*geometry), convolution)]


def _same(x: Tensor, y: Tensor) -> bool:
    if x.shape != y.shape:
        return False
    return float((x - y).abs().max()) <= _TOLERANCE * float(y.abs().max().clamp_min(1e-12))


class _Recorder(TorchFunctionMode):
    """Records the arguments of every two-dimensional convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.conv2d:
            names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
            self.calls.append({**dict(zip(names, args)), **(kwargs or {})})  # noqa: B905
        return func(*args, **(kwargs or {}))


def _from_calls(calls: list[list[dict[str, Any]]]) -> nn.Conv2d | None:
    """Make a convolution of the only call of each pass; None if the passes differ."""
    if any(len(each) != 1 for each in calls):
        return None
    first, *others = (each[0] for each in calls)
    weight, bias = first["weight"], first.get("bias")
    if not all(torch.equal(other["weight"], weight) for other in others):
        return None
    groups = int(first.get("groups", 1))
    convolution = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        first.get("stride", 1),
        first.get("padding", 0),
        first.get("dilation", 1),
        groups,
        bias is not None,
    )
    convolution.weight.copy_(weight)
    if convolution.bias is not None and bias is not None:
        convolution.bias.copy_(bias)
    return convolution.eval()
