"""The secret of a run: made, read, shared, and refused where others could know it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pbkd.errors import ConfigError
from pbkd.execution.remote import secret
from pbkd.execution.remote.rendezvous import rendezvous
from pbkd.execution.remote.secret import cluster_secret, secret_file

GOOD = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the secret, which does not exist yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("PBKD_SECRET", "SLURM_JOB_ID", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "pbkd" / "secret"


def write(path: Path, content: str = GOOD, mode: int = 0o600) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)


def test_on_one_machine_it_is_made_once_by_however_many_processes(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        (made,) = set(pool.map(lambda _: cluster_secret(create=True), range(8)))
    assert len(made) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert cluster_secret(create=False) == made


def test_the_environment_overrides_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, "f" * 20 + GOOD)
    monkeypatch.setenv("PBKD_SECRET", f" {GOOD}\n")
    assert cluster_secret(create=True) == GOOD.encode()


def test_the_file_is_in_the_home_folder_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert secret_file() == Path("/home/somebody/.config/pbkd/secret")


def test_a_user_without_a_home_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**30)
    with pytest.raises(ConfigError, match=r"has no home folder.*set PBKD_SECRET="):
        cluster_secret(create=True)


def test_a_secret_of_any_bytes_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(128, 200))
    monkeypatch.setenv("PBKD_SECRET", os.fsdecode(content))
    assert cluster_secret(create=False) == content


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("text", ["", "short", "a" * 64, "a" * 31, "ab" * 5000])
def test_a_secret_that_can_be_guessed_is_refused(
    text: str, create: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret, "_WRITE_SECONDS", 0.0)
    write(path, text)
    with pytest.raises(ConfigError, match="must be 32 to 4096 random characters"):
        cluster_secret(create=create)
    assert path.read_text() == text
    monkeypatch.setenv("PBKD_SECRET", text)
    with pytest.raises(ConfigError, match="environment variable PBKD_SECRET must be"):
        cluster_secret(create=create)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o610])
def test_a_file_that_others_can_read_is_refused(mode: int, path: Path) -> None:
    write(path, mode=mode)
    with pytest.raises(ConfigError, match="others can read the secret"):
        cluster_secret(create=True)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_in_which_others_can_replace_it_is_refused(mode: int, path: Path) -> None:
    write(path)
    path.parent.chmod(mode)
    with pytest.raises(ConfigError, match="others can replace the secret"):
        cluster_secret(create=True)


@pytest.mark.parametrize("create", [True, False])
def test_a_link_a_pipe_and_a_folder_are_refused(path: Path, create: bool) -> None:
    write(path.with_name("target"))
    path.symlink_to(path.with_name("target"))
    with pytest.raises(ConfigError, match="no link"):
        cluster_secret(create=create)
    path.unlink()
    path.symlink_to(path.with_name("nothing"))
    with pytest.raises(ConfigError, match="no link"):
        cluster_secret(create=create)
    assert not path.with_name("nothing").exists()
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigError, match="regular file"):
        cluster_secret(create=create)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="file"):
        cluster_secret(create=create)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_users_file_is_refused(path: Path) -> None:
    write(path)
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        cluster_secret(create=True)


def test_a_folder_that_cannot_be_made_is_one_sentence(path: Path) -> None:
    path.parent.write_text("")
    with pytest.raises(ConfigError, match="set PBKD_SECRET="):
        cluster_secret(create=True)


@pytest.mark.parametrize(
    ("variable", "command"),
    [
        ("KUBERNETES_SERVICE_HOST", "kubectl create secret generic pbkd"),
        ("SLURM_JOB_ID", "export PBKD_SECRET="),
        ("OTHER", "ssh HOST 'umask 077;"),
    ],
)
def test_on_several_machines_the_command_that_shares_it_is_said(
    variable: str, command: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ConfigError, match="has no secret") as error:
        cluster_secret(create=False)
    assert command in str(error.value)
    assert not path.exists()


def test_a_run_on_several_machines_does_not_begin_without_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    with pytest.raises(ConfigError, match="has no secret"), rendezvous(None):
        pytest.fail("it has begun")
    assert not path.exists()


def test_the_commands_that_are_said_make_a_secret_and_copy_it(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        cluster_secret(create=False)
    make, copy = str(error.value).split("`")[1::2]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", make], check=True, env=environment)
    made = cluster_secret(create=False)
    assert len(made) == 64
    there = copy.split("'")[1].replace(str(tmp_path), str(tmp_path / "there"))
    subprocess.run(["sh", "-c", f"({there}) < {path}"], check=True)
    copied = tmp_path / "there" / "pbkd" / "secret"
    assert copied.read_bytes().strip() == made
    assert copied.stat().st_mode & 0o777 == 0o600
