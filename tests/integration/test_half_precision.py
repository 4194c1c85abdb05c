"""float16 on a GPU that is not there: torch's fake tensors have its device, and no values."""

from __future__ import annotations

import copy

import pytest
import torch
from pbkd_squared_error import RelativeSquaredErrorPerSample
from torch import Tensor, nn

from pbkd.models.precision import autocast
from pbkd.training.applied_loss import apply_to_blocks
from pbkd.training.distill import train_block
from pbkd.training.feeds import recompute
from pbkd.training.learner import new_learner
from tests.optimisations import optimisation

GPU = torch.device("cuda:0")


def _moved(network: nn.Sequential) -> nn.Sequential:
    """Give a network fake weights on the GPU, inside the mode of fake tensors."""
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            fake = torch.empty(parameter.shape, device=GPU)
            module._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=GPU)
    return network


def test_scaled_steps_in_float16_mix_no_devices_and_read_nothing_from_the_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    block = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    chain = nn.Sequential(copy.deepcopy(block).requires_grad_(False).eval())

    def backward(loss: Tensor) -> None:  # a real one would ask the driver
        assert loss.device == GPU and loss.dtype == torch.float32
        for parameter in block.parameters():
            parameter.grad = torch.empty_like(parameter)

    monkeypatch.setattr(Tensor, "backward", backward)
    with FakeTensorMode(allow_non_fake_inputs=False):
        losses = apply_to_blocks(RelativeSquaredErrorPerSample(), _moved(chain), torch.float16)
        learner = new_learner(_moved(block), optimisation(0.1), steps=2, dtype=torch.float16)
        feeding = nn.Sequential(autocast(chain[0], torch.float16))
        images = [torch.empty(4, 3, 6, 6, device=GPU, dtype=torch.float16) for _ in range(2)]
        for lessons in recompute(feeding, ["0"], images):
            output, value = train_block(learner, next(lessons), losses["0"])
            assert output.dtype == torch.float16
            assert value.dtype == torch.float32
    assert learner.scaler.is_enabled()
    assert learner.rate.last_epoch == 2
