"""Seeds for independent random streams, all drawn from the one seed of a run."""

from __future__ import annotations

import hashlib
import json

__all__ = ["derive_seed"]


def derive_seed(seed: int, *parts: str | int) -> int:
    """Return a seed in [0, 2**63) for the stream that `parts` name, such as `("train", epoch)`.

    It is a hash (SHA-256) of the run's seed and the parts: the same on every machine and in every
    process, and unrelated for any two different names.
    """
    # JSON keeps ("ab", "c"), ("a", "bc"), 1 and "1" apart.
    digest = hashlib.sha256(json.dumps([seed, *parts]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
