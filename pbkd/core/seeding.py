"""Seeds of independent random streams, all derived from the seed of a run."""

from __future__ import annotations

import hashlib
import json

__all__ = ["derive_seed"]


def derive_seed(seed: int, *parts: str | int) -> int:
    """Derive the seed of an independent random stream.

    It is a hash (SHA-256) of the arguments: the same on every machine and in every process, and
    different for different streams.

    Args:
        seed: The run's seed.
        parts: The name of the stream, such as `"train", epoch`.

    Returns:
        A seed in [0, 2**63).
    """
    # JSON keeps ("ab", "c"), ("a", "bc"), 1 and "1" apart.
    digest = hashlib.sha256(json.dumps([seed, *parts]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
