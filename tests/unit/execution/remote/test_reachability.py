from __future__ import annotations

import socket

import pytest

from pbkd.execution.remote.reachability import check_reachable


def test_an_address_that_answers_is_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_reachable(f"127.0.0.1:{server.getsockname()[1]}")


def test_an_address_that_refuses_is_an_error() -> None:
    with pytest.raises(OSError, match="refused"):
        check_reachable("127.0.0.1:9")


@pytest.mark.parametrize("address", [None, "auto", "ray://127.0.0.1:9", "127.0.0.1"])
def test_other_addresses_are_not_checked(address: str | None) -> None:
    check_reachable(address)
