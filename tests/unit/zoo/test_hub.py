from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

import pbkd
from pbkd.errors import HubError, PbkdError
from pbkd.models.weights import encode_weights, fingerprint, halved, read_weights
from pbkd.plugin.registry import Registry
from pbkd.zoo.hub import read_hub_name
from pbkd.zoo.push import push_student
from tests.command_line import Pbkd, mistake
from tests.hub_stand_in import Hub, Model, hub_stand_in

NAME = "someone/small-digits"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_stand_in(tmp_path / "cache") as started:
        yield started


@pytest.fixture
def pushed(hub: Hub, added: Callable[[Path, str], Path], tmp_path: Path) -> Hub:
    """A hub that holds the student of the finished run."""
    folder = added(tmp_path, "pushed")
    hub.models[NAME].commit({path.name: path.read_bytes() for path in folder.iterdir()})
    return hub


def refused(where: str = NAME) -> str:
    with pytest.raises(HubError) as caught:
        pbkd.load(where)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pushed_listed_shown_and_loaded(hub: Hub, finished: Path, pbkd: Pbkd) -> None:
    ended = pbkd("hub", "push", finished, NAME, "--private")
    assert (ended.code, hub.models[NAME].private) == (0, True), ended
    assert ended.out.splitlines()[1:] == [f"in Python: pbkd.load('{NAME}')"]
    assert "POST /api/validate-yaml" in hub.requests
    row = pbkd("hub", "list", "someone").out.splitlines()[1].split()
    score = json.loads((finished / "result.json").read_text())["student"]["accuracy"]
    assert row == [NAME, "digits", f"{100 * score:.2f}", "%", "apache-2.0", "1,234", "2026-01-02"]
    assert pbkd("hub", "list", "nobody").out == f"{hub.address} has no students of 'nobody'\n"
    shown = pbkd("hub", "show", NAME).out
    assert shown.startswith(f"{NAME}: {hub.address}/{NAME}\n")
    for part in ("  accuracy:", "## Blocks", f'`pbkd.load("{NAME}")` returns it'):
        assert part in shown
    assert not any("safetensors" in request for request in hub.requests if "GET" in request)


@pytest.mark.usefixtures("pushed")
def test_a_student_from_the_hub_is_that_of_the_run(finished: Path) -> None:
    assert fingerprint(pbkd.load(NAME)) == fingerprint(pbkd.load(finished))
    assert repr(pbkd.transform(NAME)) == repr(pbkd.transform(finished))


def test_only_the_files_of_a_student_are_fetched(pushed: Hub, tmp_path: Path) -> None:
    model = pushed.models[NAME]
    model.commit(model.files | {"evil.py": b"1", "model.pkl": b"2", "network.json.sig": b"3"})
    pbkd.load(NAME)
    cached = {path.name for path in (tmp_path / "cache").rglob("snapshots/*/*")}
    assert cached == {"config.json", "model.safetensors"}


def test_a_revision_can_be_named(pushed: Hub, finished: Path) -> None:
    model, weights = pushed.models[NAME], finished / "student" / "model.safetensors"
    (first,) = model.commits
    model.commit(model.files | {weights.name: encode_weights(halved(read_weights(weights)))})
    exact = fingerprint(pbkd.load(finished))
    assert fingerprint(pbkd.load(f"{NAME}@{first}")) == exact != fingerprint(pbkd.load(NAME))
    assert refused(f"{NAME}@v9") == f"'{NAME}' has no such revision at {pushed.address}."


def test_what_is_cached_loads_without_a_network(
    pushed: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = fingerprint(pbkd.load(NAME))
    pushed.failure = 503
    assert fingerprint(pbkd.load(NAME)) == student
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    pushed.requests.clear()
    assert fingerprint(pbkd.load(NAME)) == student
    assert pushed.requests == []
    assert refused("someone/else") == (
        "'someone/else' is neither a folder nor a student of a zoo folder, and 'someone/else' is"
        " not in the cache: HF_HUB_OFFLINE forbids to ask the hub."
    )


def test_no_network_is_said_at_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.failure = 503
    answer = f"{hub.address} answers with error 503, out of order."
    assert refused().endswith(f"'{NAME}' is not in the cache: {answer}")
    hub.failure, hub.seconds = None, 1
    monkeypatch.setattr("pbkd.zoo.hub.SECONDS", 0.05)
    assert f"{hub.address} cannot be reached (ReadTimeout: " in refused()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert "http://127.0.0.1:1 cannot be reached (Connect" in refused()


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_damaged_download_is_refused_once(pushed: Hub, file: str) -> None:
    pushed.damage[file] = lambda content: content[:-2] + b"?" + content[-1:]
    assert refused() == (
        f"'{file}' of '{NAME}' was damaged on its way from {pushed.address}, or in the cache: it"
        " was deleted from there, so do the same again to fetch it anew."
    )
    pushed.damage.clear()
    pbkd.load(NAME)


def test_a_download_that_is_cut_off_is_refused(pushed: Hub) -> None:
    pushed.damage["config.json"] = lambda content: content[:-2]
    told = f"'config.json' of '{NAME}' was not fetched whole (OSError: Consistency check failed: "
    assert refused().startswith(told)
    pushed.damage.clear()
    pbkd.load(NAME)


@pytest.mark.usefixtures("pushed")
def test_a_file_that_changes_in_the_cache_is_refused_once(tmp_path: Path) -> None:
    pbkd.load(NAME)
    (weights,) = (tmp_path / "cache").rglob("model.safetensors")
    content = weights.read_bytes()
    weights.resolve().write_bytes(content[:-1])
    assert "was damaged" in refused()
    pbkd.load(NAME)
    assert weights.read_bytes() == content


def test_what_the_user_may_not_see_is_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = (
        f"there is no model '{NAME}' at {hub.address}, or it is private: check the name, or log"
        " in with `hf auth login`."
    )
    assert refused() == f"'{NAME}' is neither a folder nor a student of a zoo folder, and {missing}"
    hub.models[NAME] = Model(gated=True)
    hub.models[NAME].commit({"model.safetensors": b"", "config.json": b""})
    assert refused() == f"'{NAME}' is gated: ask for access at {hub.address}/{NAME}."
    hub.models[NAME] = Model(private=True)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "nowhere")
    assert missing in refused()
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert refused() == f"{hub.address} does not accept your token: log in with `hf auth login`."


def test_other_models_are_not_taken_for_students(hub: Hub) -> None:
    hub.models[NAME].commit({"config.json": b"{}", "pytorch_model.bin": b""})
    assert refused() == f"'{NAME}' is no student of pbkd: it has no 'model.safetensors'."
    hub.models[NAME].commit({"config.json": b" " * 9_000_000, "model.safetensors": b""})
    assert refused() == f"'config.json' of '{NAME}' is larger than 8,388,608 bytes."


def test_a_push_that_the_hub_refuses_is_one_sentence(
    hub: Hub, finished: Path, pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mistake(pbkd("hub", "push", finished, "small")).startswith("'small' is not OWNER/NAME")
    assert mistake(pbkd("hub", "push", finished, "other/small")) == (
        "your token may not do this with 'other/small': log in with `hf auth login` with a token"
        " that may."
    )
    hub.models["someone/bert"] = Model(library="transformers")
    told = "'someone/bert' is a model of transformers: choose another name."
    assert mistake(pbkd("hub", "push", finished, "someone/bert")) == told
    hub.models["someone/open"] = Model(library="pbkd")
    told = mistake(pbkd("hub", "push", finished, "someone/open", "--private"))
    assert told.startswith("'someone/open' is public: make it private at ")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "nowhere")
    told = f"{hub.address} does not accept your token: log in with `hf auth login`."
    assert mistake(pbkd("hub", "push", finished, NAME)) == told
    assert NAME not in hub.models


def test_a_student_of_a_zoo_is_pushed_as_it_is(
    hub: Hub, registry: Registry, added: Callable[[Path, str], Path], zoo: Path
) -> None:
    folder = added(zoo, "small")
    (folder / "README.md").write_text((folder / "README.md").read_text() + "\nedited\n")
    hub.models[NAME].commit({"network.json": b"of the student before", "logo.png": b""})
    push_student(registry, Path("small"), NAME)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.models[NAME].files == whole | {"logo.png": b""}
    with pytest.raises(PbkdError, match="is pushed as it is: set --licence"):
        push_student(registry, folder, NAME, half=True)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"<html>", b"null", b"[1]", b"[[[" * 9999,
        b'{"id": "a/b", "sha": "..", "siblings": [{"rfilename": "README.md", "size": "x"}]}',
        b'[{"id": 5, "cardData": {"model-index": [7], "license": []}, "downloads": "x"}]',
        b'[{"id": "a/b\\u001b[2J", "cardData": {"license": "\\u001b[2J[bold]"}}]',
    ],
)  # fmt: skip
def test_an_answer_that_no_hub_gives_is_one_sentence(
    nonsense: bytes, hub: Hub, finished: Path, pbkd: Pbkd
) -> None:
    hub.nonsense = nonsense
    for command in (["list"], ["show", NAME], ["push", finished, NAME]):
        ended = pbkd("hub", *command)
        assert mistake(ended) if ended.code else "\x1b" not in ended.out
    assert refused()


@pytest.mark.parametrize(
    "text", ["small", "a/b/c", "a/../b", "/a/b", "a/b--c", "a/b@../c", "a b/c"]
)
def test_paths_are_no_names_on_the_hub(text: str) -> None:
    assert read_hub_name(text) is None


def test_the_hub_is_not_asked_for_what_is_in_a_folder_here(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    with pytest.raises(PbkdError, match="is neither a folder nor a student of a zoo folder"):
        pbkd.load("runs/lastet")
    assert hub.requests == []


def test_a_list_is_not_waited_for(hub: Hub, pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.seconds = 1
    monkeypatch.setattr("pbkd.zoo.hub_listing.SECONDS", 0.05)
    told = f"{hub.address} cannot be reached (ReadTimeout: "
    assert mistake(pbkd("hub", "list")).startswith(told)
