"""The decision of workers to end after an epoch, so that their blocks are split anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pbkd.execution.store import open_store
from pbkd.execution.torchrun import store_key
from pbkd.runs.split_request import is_split_requested

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["EarlyEnd"]

T = TypeVar("T")


@dataclass
class EarlyEnd:
    """Tells a worker after which epoch it ends; the last epoch is none of these.

    The workers of a relay end after the same epoch: the one that begins it reads the host's request
    and decides, and the others, which are never ahead of it, follow.

    Attributes:
        folder: The run folder.
        epochs: Epochs of the phase.
        key: Key of the decisions, unique within one launch; None if the worker decides for itself.
        decides: Whether this worker decides.
    """

    folder: Path
    epochs: int
    key: str | None = None
    decides: bool = True
    _decisions: dict[int, bool] = field(default_factory=dict)

    def is_after(self, epoch: int) -> bool:
        """Return whether to end when `epoch` epochs are done."""
        if epoch >= self.epochs:
            return False
        if epoch not in self._decisions:
            self._decisions[epoch] = self._decide(epoch)
        return self._decisions[epoch]

    @property
    def has_come(self) -> bool:
        """Whether this worker has ended a job early."""
        return any(self._decisions.values())

    def before_end(self, epochs: Iterable[T], first: int) -> Iterator[T]:
        """Yield the epochs from `first` on, until the end."""
        for done, epoch in enumerate(epochs, first + 1):
            yield epoch
            if self.is_after(done):
                return

    def _decide(self, epoch: int) -> bool:
        if self.key is None:
            return is_split_requested(self.folder)
        store, key = open_store(), store_key(f"{self.key}/ends/{epoch}")
        if self.decides:
            store.set(key, str(is_split_requested(self.folder)))
        return bool(store.get(key) == b"True")
