"""Conformance tests of zoo models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pbkd.config.options import option_types, typed_options
from pbkd.models.chain import freeze
from pbkd.models.weights import converted, fit_weights, read_tensors

if TYPE_CHECKING:
    from pbkd.protocols import ZooModel

__all__ = ["check_model"]


def check_model(model: ZooModel) -> None:
    """Check that a zoo model can be built, takes its images, and fits its weights.

    The network must be built twice alike with default options and map (2, C, H, W) to finite logits
    (2, classes). Of a family only the list of variants and the option `variant` are checked.

    Args:
        model: The model.

    Raises:
        AssertionError: If the model breaks the contract.
        WeightsError: If its weights cannot be read or do not fit.
    """
    assert model.summary, "the model has no summary"
    assert len(model.mean) == len(model.std), "mean and std have different numbers of channels"
    assert all(value > 0 for value in model.std), "std must be above 0 in every channel"
    if model.variants is not None:
        _check_family(model)
        return
    options = typed_options(model.build, {}, where="teacher")
    network, again = model.build(**options), model.build(**options)
    assert isinstance(network, nn.Module), (
        f"build returns a {type(network).__name__}, not a torch module"
    )
    shapes, others = (
        {name: tensor.shape for name, tensor in built.state_dict().items()}
        for built in (network, again)
    )
    assert shapes == others, "build returns different networks in two calls"
    if model.weights is not None:
        weights, _ = read_tensors(model.weights)
        fit_weights(network, converted(weights, network.state_dict()), model.weights)
    channels, height, width = model.input_shape or (len(model.mean), 32, 32)
    assert channels == len(model.mean), (
        f"images have {channels} channels, but mean has {len(model.mean)}"
    )
    logits = freeze(network)(torch.rand(2, channels, height, width))
    assert isinstance(logits, Tensor), (
        f"the network returns a {type(logits).__name__}, not a tensor"
    )
    assert logits.ndim == 2, f"the network returns {tuple(logits.shape)}, not (2, classes)"
    assert bool(logits.isfinite().all()), "the network returns logits that are not finite"


def _check_family(model: ZooModel) -> None:
    assert model.variants is not None
    names = list(model.variants())
    assert names, "the family has no variants"
    assert all(isinstance(name, str) for name in names), "a variant's name is not a string"
    assert "variant" in option_types(model.build), "build has no option `variant`"
