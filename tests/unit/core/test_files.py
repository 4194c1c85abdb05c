from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from pbkd.core.files import read_json, user_path, write_file, write_json
from pbkd.errors import RunFolderError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_without_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"file/x/y' cannot be written: Not a directory\.$"):
        write_file(tmp_path / "file" / "x" / "y", b"")


def test_a_file_is_written_with_its_folders_and_nothing_else(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b", b"one")
    write_file(tmp_path / "a" / "b", b"two")
    assert (tmp_path / "a" / "b").read_bytes() == b"two"
    assert names(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, kind: type[BaseException]
) -> None:
    write_file(tmp_path / "file", b"old")

    def fail(*_args: object) -> None:
        raise kind(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(failing, fail)
    wanted = RunFolderError if kind is OSError else KeyboardInterrupt
    with pytest.raises(wanted, match="No space left on device"):
        write_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    file, sizes = tmp_path / "file", set()
    contents = [b"a" * 100_000, b"b" * 200_000]
    write_file(file, contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(100):
            write_file(file, contents[turn % 2])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        sizes.add(len(file.read_bytes()))
    thread.join()
    assert sizes <= {100_000, 200_000}


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True], "ü": "\N{SNOWMAN}\ud800"}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_never_holds_what_is_no_number(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", [number])
    assert names(tmp_path) == []


def test_json_that_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"there is no '.*x\.json': is this a finished run's"):
        read_json(tmp_path / "x.json")
    for content in (b'{"a": ', b"", b"\xff\xfe"):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(RunFolderError, match=r"x\.json' cannot be read: "):
            read_json(tmp_path / "x.json")
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_json(tmp_path)


def test_a_tilde_is_a_home_folder_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~") == tmp_path
    assert user_path("~/a b/~") == user_path(Path("~/a b/~")) == tmp_path / "a b" / "~"
    for name in ("~nobody-of-this-name/x", "~$doc.pt", "a/~", "./~", "0123", "$HOME", "x ", ""):
        assert user_path(name) == Path(name)
