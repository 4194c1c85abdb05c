"""Models: networks that can be built by name, take images, and fit the weights they ship."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pbkd.config.options import option_types, typed_options
from pbkd.models.chain import freeze
from pbkd.models.weights import fit_weights, read_weights

if TYPE_CHECKING:
    from pbkd.protocols import ZooModel

__all__ = ["check_model"]


def check_model(model: ZooModel) -> None:
    """The network is built from its defaults, takes its images, and fits the weights it ships.

    Of a family only the list of its variants is checked.
    """
    assert model.summary, "the model has no summary"
    assert len(model.mean) == len(model.std), "mean and std have not as many channels"
    assert all(value > 0 for value in model.std), "std must be above 0 in every channel"
    if model.variants is not None:
        _check_family(model)
        return
    options = typed_options(model.build, {}, where="teacher")
    network, again = model.build(**options), model.build(**options)
    assert isinstance(network, nn.Module), f"build gives a {type(network).__name__}"
    shapes, others = (
        {name: tensor.shape for name, tensor in built.state_dict().items()}
        for built in (network, again)
    )
    assert shapes == others, "build gives another network the second time"
    if model.weights is not None:
        fit_weights(network, read_weights(model.weights), model.weights)
    channels, height, width = model.input_shape or (len(model.mean), 32, 32)
    assert channels == len(model.mean), (
        f"images have {channels} channels, but mean has {len(model.mean)}"
    )
    logits = freeze(network)(torch.rand(2, channels, height, width))
    assert isinstance(logits, Tensor), f"the network gives a {type(logits).__name__}"
    assert logits.ndim == 2, f"the network gives {tuple(logits.shape)}, not (2, classes)"
    assert bool(logits.isfinite().all()), "the network gives logits that are not finite"


def _check_family(model: ZooModel) -> None:
    assert model.variants is not None
    names = list(model.variants())
    assert names, "the family has no variants"
    assert all(isinstance(name, str) for name in names), "a variant's name is not a string"
    assert "variant" in option_types(model.build), "build has no option `variant`"
