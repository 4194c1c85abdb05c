from __future__ import annotations

import ipaddress
import os

import psutil
import pytest

from pbkd.errors import WorkerError
from pbkd.execution.remote.address import choose_gloo_interface, own_address


@pytest.fixture(autouse=True)
def _no_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)


def loopback() -> str:
    """Return the name of the loopback interface."""
    names = {e.address: name for name, all_ in psutil.net_if_addrs().items() for e in all_}
    return str(names["127.0.0.1"])


def test_on_one_machine_it_is_the_loopback_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_address("192.0.2.7", one_machine=True) == "127.0.0.1"
    choose_gloo_interface("127.0.0.1")
    assert os.environ["GLOO_SOCKET_IFNAME"] == loopback()
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")


def test_the_interface_that_the_user_chose_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", loopback())
    assert own_address("192.0.2.7", one_machine=False) == "127.0.0.1"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "none7")
    with pytest.raises(WorkerError, match="GLOO_SOCKET_IFNAME=none7 is no interface"):
        own_address("192.0.2.7", one_machine=False)


def test_the_machine_of_rank_0_listens_at_an_address_that_others_reach() -> None:
    try:
        address = own_address("127.0.0.1", one_machine=False)
    except WorkerError as error:  # this machine has no network
        assert "GLOO_SOCKET_IFNAME" in str(error)
    else:
        assert not ipaddress.ip_address(address).is_loopback
        assert not ipaddress.ip_address(address).is_unspecified


def test_a_machine_without_a_route_is_one_sentence() -> None:
    with pytest.raises(WorkerError, match=r"no route to 'nowhere\.invalid'.*GLOO_SOCKET_IFNAME"):
        own_address("nowhere.invalid", one_machine=False)
