from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from pbkd.core.files import (
    read_file,
    read_foreign_json,
    read_json,
    user_path,
    write_file,
    write_json,
)
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
        write_json(tmp_path / "x.json", {"a": number})
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


def test_one_flipped_bit_is_told_or_changes_nothing(tmp_path: Path) -> None:
    path, value = tmp_path / "x.json", {"a": [1e-05, None, True, "ü\n"], "b": {"c": -3}}
    write_json(path, value)
    whole = path.read_bytes()
    told = 0
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert read_json(path) == value
        except RunFolderError:
            told += 1
    assert told == 8 * len(whole) - 3, "1E-05, \\u00Fc and \\u00fC mean the same"


def test_a_file_that_another_program_lays_out_again_is_taken(tmp_path: Path) -> None:
    value = {"b": 1, "a": 0.1}
    write_json(tmp_path / "x.json", value)
    tree = json.loads((tmp_path / "x.json").read_text())
    (tmp_path / "x.json").write_text(json.dumps(dict(sorted(tree.items()))))
    assert read_json(tmp_path / "x.json") == value


@pytest.mark.parametrize("content", ['{"a": 1}', "[1]", "3", '{"sha256": null}', '{"sha256": 1}'])
def test_json_without_the_right_checksum_was_changed(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"x\.json' (has no|does not match its) checksum"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "9" * 30, str(2**63)])
def test_a_huge_integer_is_refused(tmp_path: Path, number: str) -> None:
    (tmp_path / "x.json").write_text(f'{{"a": {number}}}')
    with pytest.raises(RunFolderError, match="an integer of more than 64 bits"):
        read_foreign_json(tmp_path / "x.json")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "around").symlink_to("around")
    for name in ("pipe", "device", "around", "."):
        with pytest.raises(RunFolderError, match="is not a regular file|cannot be read: "):
            read_file(tmp_path / name)
