"""Encryption of the connections between the processes of a run, with the user's certificate."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.files import user_path
from pbkd.errors import ConfigError, one_line

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["Encryption", "encryption"]

_CERTIFICATE, _KEY, _CA = "PBKD_TLS_CERTIFICATE", "PBKD_TLS_KEY", "PBKD_TLS_CA"
_MAX_BYTES = 2**20
_END = "-----END CERTIFICATE-----"


@dataclass(frozen=True)
class Encryption:
    """How this process encrypts; both sides of a connection must present a certificate.

    Attributes:
        accepting: For connections that it accepts.
        connecting: For connections that it makes.
        certificate: Its own certificate, in DER format.
    """

    accepting: ssl.SSLContext
    connecting: ssl.SSLContext
    certificate: bytes


def encryption() -> Encryption | None:
    """Read the encryption that the environment variables `PBKD_TLS_*` ask for.

    `PBKD_TLS_CERTIFICATE` is a PEM file with this process's certificate, `PBKD_TLS_KEY` one with
    its private key (by default the same file), `PBKD_TLS_CA` one with the certificates that sign
    the others' (by default the same file: one self-signed certificate for all).

    Returns:
        The encryption; None without these variables.

    Raises:
        ConfigError: A variable is missing, or a file is not readable as PEM.
    """
    if not any(name in os.environ for name in (_CERTIFICATE, _KEY, _CA)):
        return None
    if not os.environ.get(_CERTIFICATE):
        raise ConfigError(f"set {_CERTIFICATE} too, to a PEM file with this machine's certificate.")
    certificate = user_path(os.environ[_CERTIFICATE])
    key = user_path(os.environ.get(_KEY) or certificate)
    authority = user_path(os.environ.get(_CA) or certificate)
    try:
        accepting = _context(ssl.PROTOCOL_TLS_SERVER, certificate, key, authority)
        connecting = _context(ssl.PROTOCOL_TLS_CLIENT, certificate, key, authority)
        return Encryption(accepting, connecting, _der(certificate))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the certificate '{certificate}', its key '{key}' or the authority '{authority}'"
            f" cannot be used ({one_line(error)}): give PEM files by {_CERTIFICATE}, {_KEY} and"
            f" {_CA}."
        ) from error


def _context(kind: int, certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(kind)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # members are those whom the user's own authority has signed
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority)
    context.load_cert_chain(certificate, key, password=_refuse_password)
    return context


def _refuse_password() -> str:
    """Keep OpenSSL from asking on the terminal, where nobody may be."""
    raise ValueError("the key is encrypted with a password")


def _der(certificate: Path) -> bytes:
    """Return the first certificate of a PEM file, in DER format."""
    with certificate.open("rb") as file:
        text = file.read(_MAX_BYTES).decode("ascii", "replace")
    begin = text.index("-----BEGIN CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(text[begin : text.index(_END, begin) + len(_END)])
