from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from pbkd.errors import TeacherError
from pbkd.models.adopt import adopt

if TYPE_CHECKING:
    from collections.abc import Callable


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 2)).eval()


JIT: Any = torch.jit
IMAGES = torch.zeros(2, 1, 4, 4)


def exported() -> Any:
    return torch.export.export(layers(), (IMAGES,))


def traced_part() -> nn.Module:
    network = layers()
    return nn.Sequential(JIT.trace(network[0], IMAGES), network[1], network[2])


PROGRAMS: dict[str, tuple[Callable[[], Any], str]] = {
    "traced": (lambda: JIT.trace(layers(), IMAGES), "is TorchScript .* scripted or traced"),
    "scripted": (lambda: JIT.script(layers()), "is TorchScript"),
    "part": (traced_part, "has a part '0' that is TorchScript"),
    "exported": (exported, "torch.export, .* the network that was exported"),
    "module of exported": (lambda: exported().module(), "torch.export"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_without_layers_is_refused_with_the_cure(kind: str) -> None:
    make, text = PROGRAMS[kind]
    with pytest.raises(TeacherError, match=text):
        adopt(make())
