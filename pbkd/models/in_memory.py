"""A teacher, and optionally data, that a Python program has in memory."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pbkd.config.options import MEMORY
from pbkd.errors import ConfigError, first_line
from pbkd.models.chain import freeze
from pbkd.models.teacher import Teacher
from pbkd.models.wrappers import copied

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.data.datasets import Dataset
    from pbkd.data.normalization import Normalization


__all__ = ["InMemoryInputs"]


@dataclass(frozen=True, eq=False)
class InMemoryInputs:
    """The objects that a program passes to `pbkd.compress`.

    Attributes:
        network: The trained network, see `adopt`; it is copied, never changed.
        normalization: How its images are normalised; the identity if that is unknown.
        data: What to train on; None if the configuration names a data source.
        notes: Remarks on how the network was taken, a sentence each.
        origins: Where `mean` and `std` came from; empty if they are unknown.
    """

    network: nn.Module
    normalization: Normalization
    data: Dataset | None
    notes: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The teacher's name in configuration and results."""
        return f"{MEMORY}:{type(self.network).__name__}"

    def teacher(self) -> Teacher:
        """Return a frozen copy of the network as a teacher, on the CPU."""
        network = freeze(copied(self.network))
        normalization = self.normalization
        return Teacher(self.name, network, normalization, "given", self.notes, self.origins)

    def check_portable(self) -> None:
        """Check that these objects can be sent to worker processes.

        Raises:
            ConfigError: If a class is defined in an interactive session, or pickling fails.
        """
        main = sys.modules["__main__"]
        classes = [type(module) for module in self.network.modules()]
        interactive = [
            c for c in classes if c.__module__ == "__main__" and not hasattr(main, "__file__")
        ]
        if interactive:
            raise _not_portable(f"the class {interactive[0].__name__} is in no file")
        try:
            pickle.dumps(self)
        except Exception as error:  # an object's own __reduce__ can raise anything
            raise _not_portable(first_line(error)) from error


def _not_portable(reason: Any) -> ConfigError:
    return ConfigError(
        f"network or data cannot be handed to worker processes ({reason}): use workers=1, or put"
        " their classes into a module."
    )
