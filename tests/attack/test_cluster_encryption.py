"""Encrypted connections between the processes of a run, with right and wrong certificates."""

from __future__ import annotations

import shutil
import subprocess
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pbkd.errors import ConfigError, WorkerError
from pbkd.execution.remote import listener
from pbkd.execution.remote.handshake import Peer
from pbkd.execution.remote.messages import End, File, Heartbeat
from pbkd.execution.remote.tls import encryption
from tests.cluster_peers import SECRET, Accepting, membership

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.execution.remote.listener import Membership

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the command openssl")

ME = Peer(1, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two self-signed certificates with their keys, and an authority that has signed two more."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("one", "other", "authority"):
        openssl(folder, "req", "-x509", *NEW, f"{name}.key", "-subj", f"/CN={name}", "-days", "9",
                "-out", f"{name}.pem")  # fmt: skip
    for name in ("signed", "signed too"):
        openssl(folder, "req", *NEW, f"{name}.key", "-subj", "/CN=signed", "-out", "request")
        openssl(folder, "x509", "-req", "-in", "request", "-days", "9", "-CA", "authority.pem",
                "-CAkey", "authority.key", "-CAcreateserial", "-out", f"{name}.pem")  # fmt: skip
    return folder


NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout")


def openssl(folder: Path, *options: str) -> None:
    subprocess.run(["openssl", *options], cwd=folder, check=True, capture_output=True)


def with_certificate(
    folder: Path, name: str, authority: str | None = None, secret: bytes = SECRET
) -> Membership:
    """Return what a process with this certificate shows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PBKD_TLS_CERTIFICATE", str(folder / f"{name}.pem"))
        patch.setenv("PBKD_TLS_KEY", str(folder / f"{name}.key"))
        if authority:
            patch.setenv("PBKD_TLS_CA", str(folder / f"{authority}.pem"))
        return replace(membership(secret), encryption=encryption())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(("one", None), ("one", None)), (("signed", "authority"), ("signed too", "authority"))],
    ids=["one certificate for all", "signed by one authority"],
)
def test_messages_are_encrypted_in_both_directions_at_once(
    ours: tuple[str, str | None], theirs: tuple[str, str | None], folder: Path
) -> None:
    accepting = Accepting(member=with_certificate(folder, *ours))
    here = accepting.connect(ME, with_certificate(folder, *theirs))
    there, _ = accepting.finish()[1]
    content = b"plain text" * 300_000
    sending = [
        threading.Thread(target=end.send, args=(File("a"), content)) for end in (here, there)
    ]
    for thread in sending:
        thread.start()
    assert here.receive() == there.receive() == (File("a"), content)
    for thread in sending:
        thread.join()
    here.send(Heartbeat())
    here.send(End())
    assert [there.receive()[0], there.receive()[0]] == [Heartbeat(), End()]


@pytest.mark.parametrize(
    ("name", "authority", "secret"),
    [
        pytest.param("other", None, SECRET, id="another certificate"),
        pytest.param("other", "one", SECRET, id="only the authority is right"),
        pytest.param("signed", "authority", SECRET, id="another authority"),
        pytest.param(None, None, SECRET, id="no certificate"),
        pytest.param("one", None, b"0123456789" * 4, id="the right one, another secret"),
    ],
)
def test_neither_a_wrong_certificate_nor_a_right_one_alone_lets_anybody_in(
    name: str | None, authority: str | None, secret: bytes, folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(listener, "_HANDSHAKE_SECONDS", 1.0)
    accepting = Accepting(member=with_certificate(folder, "one"))
    wrong = with_certificate(folder, name, authority, secret) if name else membership()
    with pytest.raises(WorkerError, match=r"cannot connect to|the secrets differ"):
        accepting.connect(ME, wrong)
    assert not any(accepting.listener._peers.values())
    accepting.connect(ME, with_certificate(folder, "one"))
    assert list(accepting.finish()) == [1]


def test_a_process_that_encrypts_talks_to_none_that_does_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_HANDSHAKE_SECONDS", 1.0)
    accepting = Accepting()
    with pytest.raises(WorkerError, match="cannot connect to"):
        accepting.connect(ME, with_certificate(folder, "one"))
    accepting.connect(ME)
    assert list(accepting.finish()) == [1]


def test_a_proof_holds_for_one_certificate_only(folder: Path) -> None:
    """Somebody with another certificate of the same authority cannot pass proofs on."""
    member = with_certificate(folder, "signed", "authority")
    assert member.encryption is not None
    another = replace(member.encryption, certificate=b"that of the process in the middle")
    accepting = Accepting(member=replace(member, encryption=another))
    with pytest.raises(WorkerError, match="the secrets differ"):
        accepting.connect(ME, with_certificate(folder, "signed too", "authority"))
    accepting.close()


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"PBKD_TLS_KEY": "one.key"}, "set PBKD_TLS_CERTIFICATE too"),
        ({"PBKD_TLS_CERTIFICATE": ""}, "set PBKD_TLS_CERTIFICATE too"),
        ({"PBKD_TLS_CERTIFICATE": "missing.pem"}, "cannot be used"),
        ({"PBKD_TLS_CERTIFICATE": "one.pem"}, "cannot be used"),  # it has no key in it
        ({"PBKD_TLS_CERTIFICATE": "one.pem", "PBKD_TLS_KEY": "other.key"}, "cannot be used"),
        ({"PBKD_TLS_CERTIFICATE": "one.key", "PBKD_TLS_KEY": "one.key"}, "cannot be used"),
        ({"PBKD_TLS_CERTIFICATE": "one.pem", "PBKD_TLS_KEY": "one.key", "PBKD_TLS_CA": "no"},
         "cannot be used"),
    ],
)  # fmt: skip
def test_certificates_that_cannot_be_used_are_one_sentence(
    variables: dict[str, str], why: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(ConfigError, match=why):
        encryption()


def test_a_key_with_a_password_asks_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openssl(folder, "ec", "-in", "one.key", "-aes128", "-passout", "pass:word", "-out", "locked")
    monkeypatch.setenv("PBKD_TLS_CERTIFICATE", str(folder / "one.pem"))
    monkeypatch.setenv("PBKD_TLS_KEY", str(folder / "locked"))
    with pytest.raises(ConfigError, match="encrypted with a password"):
        encryption()
