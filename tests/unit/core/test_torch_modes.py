from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch

from pbkd.core.torch_modes import kept_modes, ordinary_modes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def modes() -> tuple[Any, ...]:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device().type,
        torch.is_autocast_enabled("cpu"),
        torch.is_anomaly_enabled(),
    )


ORDINARY = modes()


@contextmanager
def setting(set_: Callable[[Any], object], value: object, before: object) -> Iterator[None]:
    set_(value)
    try:
        yield
    finally:
        set_(before)


MODES: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "gradients off": lambda: setting(torch.set_grad_enabled, value=False, before=True),
    "float64": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "default device": lambda: setting(torch.set_default_device, "meta", None),
    "device context": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu"),
    "anomaly": torch.autograd.detect_anomaly,
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("name", MODES)
def test_any_mode_is_ordinary_inside_and_itself_afterwards(name: str) -> None:
    with MODES[name]():
        callers = modes()
        assert callers != ORDINARY
        with ordinary_modes():
            assert modes() == ORDINARY
            weight = torch.nn.Linear(2, 2).weight
            assert weight.sum().requires_grad
            assert not weight.is_inference()
            assert (weight.dtype, weight.device.type) == (torch.float32, "cpu")
        assert modes() == callers
    assert modes() == ORDINARY


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_all_modes_together_and_an_error_leave_the_callers_modes() -> None:
    with ExitStack() as stack:
        for enter in MODES.values():
            stack.enter_context(enter())
        callers = modes()
        with pytest.raises(ValueError, match="inside"), ordinary_modes():
            assert modes() == ORDINARY
            raise ValueError("inside")
        assert modes() == callers
    assert modes() == ORDINARY


def test_what_a_users_module_sets_for_the_whole_process_is_undone() -> None:
    with kept_modes():
        torch.set_grad_enabled(mode=False)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.use_deterministic_algorithms(mode=True)
    assert modes() == ORDINARY
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_operation_without_a_deterministic_form_is_no_error() -> None:
    with kept_modes():
        torch.use_deterministic_algorithms(mode=True)
        with ordinary_modes():
            assert torch.get_deterministic_debug_mode() == 1
        assert torch.get_deterministic_debug_mode() == 2
