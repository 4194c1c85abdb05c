"""YAML that would take minutes, name types or expand: one sentence, soon."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from pbkd.config.load import load_config
from pbkd.config.yaml_files import read_yaml
from pbkd.config.yaml_values import MOST_BYTES
from pbkd.errors import ConfigError, ZooError
from pbkd.planning.cluster import read_cluster
from pbkd.zoo.card import read_card

if TYPE_CHECKING:
    from pathlib import Path

FULL = 2**16
SLOWEST = 5.0  # CPU seconds
HOSTILE = {
    "brackets": "[" * FULL,
    "brackets on lines": "[\n" * (FULL // 2),
    "braces": "{" * FULL,
    "dashes": "- " * (FULL // 2),
    "question marks": "? " * (FULL // 2),
    "indented keys": "".join(f"{' ' * i}a:\n" for i in range(500)),
    "a list": f"data: [{'1,' * 20_000}]",
    "documents": "---\n" * (FULL // 4),
    "one sexagesimal number": "seed: 1" + ":59" * (FULL // 3),
    "a tagged sexagesimal integer": "seed: !!int 1" + ":59" * (FULL // 3),
    "a tagged sexagesimal float": "seed: !!float 1" + ":59" * (FULL // 3),
    "decimal digits": "seed: " + "9" * FULL,
    "hexadecimal digits": "seed: 0x" + "f" * FULL,
    "underscores": "seed: 1" + "_" * FULL,
    "an exponent": "distill: {lr: 1e" + "9" * FULL + "}",
    "aliases that double": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
    "a mapping that holds itself": "&a {data: *a}",
    "merge keys": "data: {<<: [{a: 1}, {b: 2}], <<: {c: 3}}",
    "a tag that is code": "out: !!python/object/apply:os.system [touch code]",
    "a tag of binary data": "out: !!binary " + "A" * FULL,
    "a long tag": "out: !" + "a" * FULL,
    "a tag that does not fit": "out: !!int [1]",
    "a set": "data: !!set {a, b}",
    "two equal keys": "seed: 1\nseed: 2",
    "a list as key": "{[a]: b}",
    "more than the most bytes": "#" * (MOST_BYTES + 1),
    "a null character": "out: a\x00b",
    "controls": "out: \x1b[31m",
    "words": "a " * (FULL // 2),
    "only a scalar": "x" * FULL,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hostile.yaml"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_soon(name: str, file: Path) -> None:
    file.write_text(HOSTILE[name])
    start = time.process_time()
    with pytest.raises(ConfigError) as caught:
        load_config(file=file)
    assert time.process_time() - start < SLOWEST
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dashes", "a tagged sexagesimal integer", "a long tag"])
def test_cards_and_cluster_files_have_the_same_limits(name: str, file: Path) -> None:
    file.write_text(HOSTILE[name])
    with pytest.raises(ZooError):
        read_card(file)
    with pytest.raises(ConfigError):
        read_cluster(file)


def test_references_are_text_and_never_expanded(file: Path) -> None:
    doubling = "".join(f"${{a{i}}}${{a{i}}}" for i in range(2000))
    file.write_text(f"out: '{doubling}'\ndata: {{name: npz, path: '${{oc.env:HOME}}'}}\n")
    config = load_config(file=file)
    assert config.out == doubling
    assert config.data["path"] == "${oc.env:HOME}"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-7", "cp037"])
def test_only_utf_8_is_read_with_or_without_its_mark(file: Path, encoding: str) -> None:
    file.write_text("seed: 3\n", "utf-8-sig")
    assert load_config(file=file).seed == 3
    file.write_text("out: {é: 1}", encoding)
    with pytest.raises(ConfigError):
        load_config(file=file)


@pytest.mark.parametrize("what", ["a pipe", "a device", "a link to itself", "a folder"])
def test_what_is_no_regular_file_is_refused_at_once(file: Path, what: str) -> None:
    if what == "a pipe":
        os.mkfifo(file)
    elif what == "a folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if what == "a device" else file)
    with pytest.raises(ConfigError, match="regular file|cannot be read"):
        read_yaml(file)


@pytest.mark.parametrize(
    "override",
    [
        "a" + ".a" * 100_000 + "=1",
        "x" * 10**6 + "=1",
        "=" * 10**6,
        "seed=" + "[" * 10**6,
        "seed=" + "9" * 10**6,
        "seed=1" + ":59" * 80_000,
        "seed=!!int 1" + ":59" * 80_000,
        "keep=" + "[" * 200_000,
        "keep=[" + "a," * 10**6 + "]",
        "distill={lr: " + "{a: " * 1000,
    ],
    ids=lambda text: text[:16],
)
def test_overrides_of_megabytes_are_refused_soon(override: str) -> None:
    start = time.process_time()
    with pytest.raises(ConfigError):
        load_config([override])
    assert time.process_time() - start < SLOWEST
