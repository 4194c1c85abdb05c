from __future__ import annotations

import pytest
import torch
from torch import nn

from pbkd.errors import ConfigError
from pbkd.models.engines import in_engine
from pbkd.plugin.registry import Registry

IMAGES = torch.zeros(2, 3, 8, 8, device="meta")


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "inductor"])
def test_an_engine_is_not_asked_for_a_device_that_it_does_not_have(
    registry: Registry, name: str
) -> None:
    engine = registry.create("engine", {"name": name})
    told = rf"the engine {name} executes networks on cpu, not on meta: set the device to cpu, or"
    with pytest.raises(ConfigError, match=told):
        in_engine(engine, nn.Flatten(), IMAGES)


def test_torch_executes_networks_wherever_they_are(registry: Registry) -> None:
    run = in_engine(registry.create("engine", {"name": "torch"}), nn.Flatten(), IMAGES)
    assert run(IMAGES).device.type == "meta"
