"""BatchNorm over the batch of several workers, with one exchange per pass.

It replaces torch's SyncBatchNorm, which needs an accelerator. Where channels are last, it reads and
writes memory as often as torch's kernels for one worker.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pbkd.training.exchange import Exchange

__all__ = ["norms_of", "share_norms"]

_Norm = nn.modules.batchnorm._BatchNorm


def norms_of(module: nn.Module) -> Iterator[_Norm]:
    """Yield the BatchNorms of a module."""
    return (child for child in module.modules() if isinstance(child, _Norm))


def share_norms(module: nn.Module, exchange: Exchange) -> None:
    """Let every BatchNorm in training mode use the statistics of all workers' rows.

    Statistics, outputs and gradients equal one worker's with the whole batch, up to rounding.

    Args:
        module: The network, changed in place.
        exchange: How the workers exchange values; each has at least one row of every batch.
    """
    for norm in norms_of(module):
        norm.forward = partial(_normalise, norm, exchange)  # type: ignore[method-assign]


def _normalise(norm: _Norm, exchange: Exchange, x: Tensor) -> Tensor:
    if not norm.training:
        return type(norm).forward(norm, x)
    # A CPU's kernels take values of 16 bits beside parameters and statistics of 32.
    values = x if x.device.type == "cpu" else x.float()
    with torch.autocast(x.device.type, enabled=False):
        output: Tensor = _SharedNorm.apply(values, norm.weight, norm.bias, norm, exchange)
    return output.to(x.dtype)


class _SharedNorm(torch.autograd.Function):
    """Normalise by the statistics of all workers' rows.

    Between two convolutions, each small operation takes ten microseconds of a CPU: there are few.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, norm: _Norm,
        exchange: Exchange,
    ) -> Tensor:  # fmt: skip
        statistics = _own_statistics(x)
        rows, counts = exchange.gather(*statistics, count=x.numel() // x.shape[1])
        mean, variance = _combined(rows, counts)
        _track(norm, mean, variance, sum(counts))
        ctx.save_for_backward(x, weight)
        ctx.statistics, ctx.eps = (mean, variance), norm.eps
        ctx.counts, ctx.exchange = counts, exchange
        return _scaled(x, weight, bias, ctx.statistics, norm.eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        mean, variance = ctx.statistics
        gain = variance.add(ctx.eps).rsqrt_()
        if weight is not None:
            gain.mul_(weight)
        # As if the statistics were constants, for which torch has a fused kernel.
        _, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, gain, mean, variance, None, None, False, ctx.eps, [False, True, True]
        )
        rows, _ = ctx.exchange.gather(by_weight, by_bias)
        means = _averaging(ctx.counts, x.device) @ rows
        slope, offset = means.view(2, -1).mul_(gain)
        through = _scaled(x, slope, offset, ctx.statistics, ctx.eps)
        _add_scaled(through, gradients[0], gain)
        if weight is None:
            return through, None, None, None, None
        return through, by_weight, by_bias, None, None


def _own_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each channel, in float32.

    torch.var_mean takes 15 times as long where channels are last.
    """
    if x.dtype == torch.float32:
        return torch.batch_norm_update_stats(x, None, None, 0.0)
    # They have the type of the running statistics; without any, the type of x.
    running = torch.zeros(2, x.shape[1], device=x.device)
    return torch.batch_norm_update_stats(x, running[0], running[1], 1.0)


def _add_scaled(total: Tensor, x: Tensor, factor: Tensor) -> None:
    """Add x times a factor for each channel, (channels,)."""
    if x.dtype == factor.dtype:
        total.addcmul_(x, factor.view([1, -1] + [1] * (x.ndim - 2)))
        return
    # Of two types addcmul_ takes twenty times as long.
    unit = torch.zeros_like(factor), torch.ones_like(factor)
    total.add_(_scaled(x, factor, unit[0], unit, 0.0))


def _combined(rows: Tensor, counts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Combine the workers' means and biased variances (Chan et al. 1979).

    Args:
        rows: Means and variances of each worker, (workers, 2 channels).
        counts: How many values of a channel each worker has.
    """
    combined = _contrasts(counts, rows.device) @ rows
    mean, variance, *others = combined.view(2 * len(counts), -1)
    for contrast in others[::2]:
        variance = torch.addcmul(variance, contrast, contrast)
    return mean, variance


@lru_cache
def _contrasts(counts: tuple[int, ...], device: torch.device) -> Tensor:
    """Return what maps means to their average and to contrasts, whose squares are its variance.

    Row k > 0 is the difference between worker k and the average of those before it.
    """
    shares = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    before = shares.cumsum(0)
    matrix = torch.zeros(len(counts), len(counts), dtype=torch.float64)
    matrix[0] = shares
    for k in range(1, len(counts)):
        matrix[k, :k] = shares[:k] / before[k - 1]
        matrix[k, k] = -1
        matrix[k] *= (before[k - 1] * shares[k] / before[k]).sqrt()
    return matrix.to(device, torch.float32)


@lru_cache
def _averaging(counts: tuple[int, ...], device: torch.device) -> Tensor:
    """Return what maps the workers' sums to the negative mean over all values."""
    return torch.full((1, len(counts)), -1 / sum(counts), device=device)


def _scaled(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, statistics: tuple[Tensor, Tensor],
    eps: float,
) -> Tensor:  # fmt: skip
    """Normalise and scale each channel, in one pass over memory."""
    scaled: Tensor = torch.batch_norm(
        x, weight, bias, *statistics, training=False, momentum=0.0, eps=eps, cudnn_enabled=False
    )
    return scaled


def _track(norm: _Norm, mean: Tensor, variance: Tensor, count: float) -> None:
    if norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    batches = norm.num_batches_tracked.add_(1)
    momentum = 1 / float(batches) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.mul_(1 - momentum).add_(variance, alpha=momentum * count / (count - 1))
