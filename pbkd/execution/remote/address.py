"""The addresses and the interface of this machine by which a run's other processes reach it."""

from __future__ import annotations

import ipaddress
import os
import socket

import psutil

from pbkd.errors import WorkerError

__all__ = ["LOOPBACK", "choose_gloo_interface", "interface_with", "own_address"]

LOOPBACK = "127.0.0.1"

_INTERFACE = "GLOO_SOCKET_IFNAME"
_OUTSIDE = "192.0.2.1"  # of a network for documentation: the route to it is the default route


def own_address(master: str, *, one_machine: bool) -> str:
    """Return the address at which this process accepts the others of its run.

    It listens at this address only: where all processes are on this machine, on the loopback
    interface; else on the interface `GLOO_SOCKET_IFNAME`, or the one towards `master`.

    Args:
        master: Name or address of the machine with torch's store.
        one_machine: Whether all processes of the run are on this machine.

    Raises:
        WorkerError: There is no such address.
    """
    if one_machine:
        return LOOPBACK
    if interface := os.environ.get(_INTERFACE):
        return _address_of(interface)
    address = _address_towards(master)
    if ipaddress.ip_address(address).is_loopback:  # the master is this machine
        address = _address_towards(_OUTSIDE)
    return address


def choose_gloo_interface(address: str) -> None:
    """Have torch's gloo use the interface with an address, unless the user chose one.

    Gloo would resolve this machine's own name, which means the loopback interface on many.
    """
    if interface := interface_with(address):
        os.environ.setdefault(_INTERFACE, interface)


def interface_with(address: str) -> str | None:
    """Return the name of the network interface with an address; None if there is none."""
    interfaces = psutil.net_if_addrs().items()
    found = (name for name, entries in interfaces if any(e.address == address for e in entries))
    return next(found, None)


def _address_of(interface: str) -> str:
    for entry in psutil.net_if_addrs().get(interface.split(",")[0], ()):
        if entry.family == socket.AF_INET:
            return str(entry.address)
    raise WorkerError(
        f"{_INTERFACE}={interface} is no interface of {socket.gethostname()} with an IPv4 address:"
        " `ip address` lists them."
    )


def _address_towards(host: str) -> str:
    """Return the address of this machine on the route to another one."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # sends nothing
            return str(probe.getsockname()[0])
    except OSError as error:
        raise WorkerError(
            f"{socket.gethostname()} has no route to '{host}' ({error.strerror}): set {_INTERFACE}"
            " to the network interface that the machines of the run share."
        ) from error
