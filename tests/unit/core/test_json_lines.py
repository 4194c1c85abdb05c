"""Lines of JSON, each with its checksum."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pbkd.core.json_lines import append_line, is_damaged, json_line, parse_line, read_lines
from pbkd.errors import RunFolderError


def test_one_flipped_bit_of_a_line_is_noticed() -> None:
    data = {"event": "note", "loss": float("inf"), "text": "ü"}
    line = json_line(data)
    assert parse_line(line) == data
    for bit in range(8 * len(line) - 8):  # without the newline
        damaged = bytearray(line)
        damaged[bit // 8] ^= 1 << bit % 8
        assert parse_line(bytes(damaged)) is None
        assert is_damaged(bytes(damaged))


def test_a_line_that_a_crash_left_incomplete_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "events" / "rank0.jsonl"
    append_line(path, {"a": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:7])
    append_line(path, {"a": 2})
    assert read_lines(path) == [{"a": 1}, {"a": 2}]
    assert not any(map(is_damaged, path.read_bytes().splitlines(keepends=True)))


def test_nothing_is_appended_to_what_is_no_regular_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "folder", "pipe"):
        with pytest.raises(RunFolderError, match=f"{name}' cannot be written: "):
            append_line(tmp_path / name, {"a": 1})
    assert (tmp_path / "elsewhere").read_text() == "mine"
