"""A quick check that a cluster's address answers."""

from __future__ import annotations

import socket

__all__ = ["check_reachable"]

_TIMEOUT = 10.0  # seconds


def check_reachable(address: str | None) -> None:
    """Fail at once where nothing listens, for cluster libraries that would wait for minutes.

    Args:
        address: `host:port`; None, URLs and names without a port are not checked.

    Raises:
        OSError: Nothing accepts connections at the address.
    """
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=_TIMEOUT).close()
