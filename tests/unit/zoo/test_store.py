from __future__ import annotations

import os
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import pbkd
from pbkd.errors import RunFolderError, ZooError
from pbkd.zoo.store import describe_student, find_student, resolve_student, students, zoo_folders

Add = Callable[[Path, str], Path]


def test_folders_are_those_of_the_variable_and_pbkds_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "pbkd_zoo"
    (package / "students").mkdir(parents=True)
    spec = ModuleSpec("pbkd_zoo", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    monkeypatch.setattr("pbkd.zoo.store.find_spec", {"pbkd_zoo": spec}.get)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PBKD_ZOO", os.pathsep.join(["a", "", "~/b"]))
    assert zoo_folders() == [Path("a"), tmp_path / "b", package / "students"]
    monkeypatch.delenv("PBKD_ZOO")
    assert zoo_folders() == [package / "students"]
    (package / "students").rmdir()
    assert zoo_folders() == []


def test_students_are_found_in_every_folder_and_the_first_of_a_name_counts(
    added: Add, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = added(zoo, "one")
    monkeypatch.setenv("PBKD_ZOO", str(tmp_path / "more"))
    two = added(tmp_path / "more", "two")
    hidden = added(tmp_path / "more", "one")
    folders = [str(zoo), str(tmp_path / "more"), str(tmp_path / "nowhere")]
    monkeypatch.setenv("PBKD_ZOO", os.pathsep.join(folders))
    found = {entry.name: entry.folder for entry in students()}
    assert (found["one"], found["two"]) == (one, two)
    assert resolve_student("one") == one
    assert resolve_student(hidden) == hidden
    assert find_student("three") is None
    assert find_student("../zoo/one") is None


def test_what_is_no_student_is_passed_over(zoo: Path) -> None:
    before = len(students())
    (zoo / "notes").mkdir()
    (zoo / "notes" / "README.md").touch()
    (zoo / ".partial").mkdir()
    (zoo / ".partial" / "config.json").touch()
    (zoo / "file").touch()
    assert len(students()) == before


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("card.yaml", "[", "is not YAML"),
        ("card.yaml", None, "there is no card"),
        ("model.safetensors", None, "there is no '"),
        ("config.json", None, "there is no '"),
    ],
)
def test_a_damaged_student_is_found_with_the_reason(
    added: Add, zoo: Path, file: str, content: str | None, told: str
) -> None:
    folder = added(zoo, "sick")
    added(zoo, "well")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    found = {entry.name: entry for entry in students()}
    assert told in (found["sick"].fault or "")
    assert (found["sick"].card, found["well"].fault) == (None, None)
    with pytest.raises(ZooError, match="the student 'sick' is damaged: "):
        describe_student(found["sick"])


def test_a_student_is_described_by_its_card_and_its_readme(added: Add, zoo: Path) -> None:
    folder = added(zoo, "small")
    readme = folder / "README.md"
    readme.write_text(readme.read_text() + "\x1b[2J")
    entry = find_student("small")
    assert entry
    text = describe_student(entry)
    lines = text.splitlines()
    assert lines[0].startswith("small: digits-vgg with 1 of 1 blocks replaced")
    assert f"folder: {folder}" in lines
    for line in (folder / "card.yaml").read_text().splitlines():
        assert f"  {line}" in lines
    assert "# digits-vgg student" in lines
    assert "library_name: pbkd" not in lines
    assert "\x1b" not in text


def test_a_name_that_is_no_student_is_told_with_the_nearest(added: Add, zoo: Path) -> None:
    added(zoo, "small")
    with pytest.raises(RunFolderError) as caught:
        pbkd.load("smal")
    assert str(caught.value).startswith(
        "'smal' is neither a folder nor a student of a zoo folder. Did you mean 'small'?"
    )
