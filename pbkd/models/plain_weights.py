"""Weights that are computed from others, made plain: weight and spectral norm, pruning, others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from pbkd.errors import TeacherError

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["bake_weights"]

_HOOKS: dict[type, tuple[str, str, Callable[[nn.Module, str], nn.Module]]] = {
    WeightNorm: ("weight normalisation", "name", remove_weight_norm),
    SpectralNorm: ("spectral normalisation", "name", remove_spectral_norm),
    prune.BasePruningMethod: ("pruning", "_tensor_name", prune.remove),
}


@torch.no_grad()
def bake_weights(network: nn.Module) -> list[str]:
    """Replace computed weights of a network by plain parameters of the same values.

    Args:
        network: The network, in evaluation mode; it is changed.

    Returns:
        What was made plain, such as "weight normalisation", each once.

    Raises:
        TeacherError: If a weight is computed by a hook that is not torch's.
    """
    kinds: list[str] = []
    for path, module in list(network.named_modules()):
        kinds += _bake_hooks(module)
        if parametrize.is_parametrized(module):
            kinds += _bake_parametrizations(module)
        for name in ("weight", "bias"):
            if isinstance(vars(module).get(name), torch.Tensor) and module._forward_pre_hooks:
                raise TeacherError(
                    f"a hook computes '{path}.{name}' of the teacher at each call: store the result"
                    " as an ordinary parameter and remove the hook."
                )
    return list(dict.fromkeys(kinds))


def _bake_hooks(module: nn.Module) -> list[str]:
    kinds = []
    for hook in list(module._forward_pre_hooks.values()):
        for kind, (text, attribute, remove) in _HOOKS.items():
            if isinstance(hook, kind):
                remove(module, getattr(hook, attribute))
                _clear_translations(module)
                kinds.append(text)
    return kinds


def _bake_parametrizations(module: nn.Module) -> list[str]:
    """Give a module its own class back: torch's removal would change the class of its original."""
    lists = module.get_submodule("parametrizations")
    kinds = [_kind(type(p).__name__) for entry in lists.children() for p in entry.children()]
    values = {name: getattr(module, name).detach().clone() for name, _ in lists.named_children()}
    module.__class__ = type(module).__bases__[0]
    del module.parametrizations
    _clear_translations(module)
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))
    return kinds


def _clear_translations(module: nn.Module) -> None:
    """Remove the hooks that translate state dicts of other forms, and would miss their keys."""
    module._load_state_dict_pre_hooks.clear()
    module._state_dict_hooks.clear()


def _kind(parametrization: str) -> str:
    known = {"_WeightNorm": "weight normalisation", "_SpectralNorm": "spectral normalisation"}
    return known.get(parametrization, f"the parametrization {parametrization.lstrip('_')}")
