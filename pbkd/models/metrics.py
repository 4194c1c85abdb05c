"""What a network is worth and what it costs: accuracy, parameters, MACs, latency."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from pbkd.core.results import Latency
from pbkd.data.batching import sequential_batches
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from pbkd.data.datasets import Split
    from pbkd.data.normalization import Normalization


__all__ = [
    "accuracy",
    "latencies",
    "macs",
    "parameters",
    "predict_classes",
    "synchronise",
    "weight_bytes",
]

_WARM_UP = 3


def accuracy(
    model: nn.Module,
    split: Split,
    normalization: Normalization,
    *,
    device: torch.device | str,
    batch_size: int = 256,
) -> float:
    """Compute the top-1 accuracy of a network on a split.

    Args:
        model: A network on `device` that maps images (B, C, H, W) to logits (B, classes). It runs
            in evaluation mode and gets its own mode back.
        split: Images and labels.
        normalization: How the network's images are normalised.
        device: Where the network is.
        batch_size: Images per forward pass.

    Returns:
        The share of correct images, in [0, 1].
    """
    predicted = predict_classes(model, split, normalization, device=device, batch_size=batch_size)
    return int((predicted == split.labels).sum()) / len(split)


def predict_classes(
    model: nn.Module,
    split: Split,
    normalization: Normalization,
    *,
    device: torch.device | str,
    batch_size: int = 256,
) -> Tensor:
    """Predict the class of every image, with the arguments of `accuracy`.

    Returns:
        The index of each image's largest logit: int64 (len(split),), on the CPU.
    """
    with _evaluating(model):
        classes = [
            model(normalization.apply(images, device)).argmax(1)
            for images, _ in sequential_batches(split, batch_size)
        ]
    return torch.cat(classes).cpu()


def parameters(module: nn.Module) -> int:
    """Return the number of parameters, each counted once however often it is used."""
    return sum(parameter.numel() for parameter in module.parameters())


def weight_bytes(module: nn.Module) -> int:
    """Return the bytes of a module's parameters and buffers, as a file of its weights has them."""
    return sum(tensor.nbytes for tensor in module.state_dict().values())


def macs(module: nn.Module, input_shape: Sequence[int]) -> int:
    """Return the multiply-accumulates of one forward pass of one sample of `input_shape`.

    Counted are convolutions and matrix products, as torch's own counter sees them (two operations
    to a MAC); additions, normalisation, activation and pooling are not.
    """
    like = next(module.parameters(), torch.empty(0))
    sample = torch.zeros(1, *input_shape, device=like.device, dtype=like.dtype)
    with _evaluating(module), FlopCounterMode(display=False) as counter:
        module(sample)
    return int(counter.get_total_flops()) // 2


def latencies(
    models: Mapping[str, nn.Module], images: Tensor, repeats: int = 30
) -> dict[str, Latency]:
    """Time a forward pass of `images`, (B, C, H, W), through each of `models`, by name.

    Models and images are on one device. The models take turns, so that whatever else the machine
    does falls on all of them alike. Each pass is timed until the device is done, after some passes
    that are not timed.
    """
    if repeats < 1:
        raise ConfigError(f"latency is to be timed {repeats} times, but at least once is needed.")
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(-_WARM_UP, repeats):
        for name, model in models.items():
            with _evaluating(model):
                passed = _seconds(model, images)
            if repeat >= 0:
                seconds[name].append(passed)
    return {name: _latency(passes, len(images)) for name, passes in seconds.items()}


def _seconds(model: nn.Module, images: Tensor) -> float:
    synchronise(images.device)
    start = time.perf_counter()
    model(images)
    synchronise(images.device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait until an accelerator has done what was asked of it; nothing on a CPU."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _latency(passes: list[float], batch: int) -> Latency:
    median, p95 = np.quantile(passes, [0.5, 0.95]).tolist()
    return Latency(median, p95, batch, len(passes))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode without gradients, then give every submodule its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
