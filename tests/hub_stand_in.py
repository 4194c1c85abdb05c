"""A stand-in of the Hugging Face hub: the part of its HTTP interface that pbkd calls."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import ModelCard

TOKEN, OWNER = "hf_of_a_test", "someone"
_UPDATED = "2026-01-02T03:04:05.000Z"


def git_digest(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@dataclass
class Model:
    """A model: the files of each commit, oldest first."""

    private: bool = False
    gated: bool = False
    library: str | None = None
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, bytes]:
        return [{}, *self.commits.values()][-1]

    def commit(self, files: dict[str, bytes]) -> str:
        oid = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits[oid] = files
        return oid

    def at(self, revision: str) -> str | None:
        if revision == "main":
            return ["0" * 40, *self.commits][-1]
        return revision if revision in self.commits else None


@dataclass
class Hub:
    """What the stand-in holds, and what it does wrong.

    Attributes:
        models: By name.
        large: The content of large files by SHA-256.
        requests: The method and path of each request.
        damage: A function on the content of each file that is sent, by the file's name.
        failure: The status of each answer, if not None.
        seconds: How long each answer takes.
        nonsense: What each answer says, if not None.
    """

    models: dict[str, Model] = field(default_factory=lambda: defaultdict(Model))
    large: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    damage: dict[str, Any] = field(default_factory=dict)
    failure: int | None = None
    seconds: float = 0
    nonsense: bytes | None = None
    address: str = ""


class _RefusedError(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        self.hub.requests.append(f"{self.command} {path}")
        time.sleep(self.hub.seconds)
        try:
            if self.hub.failure:
                raise _RefusedError(self.hub.failure, message="out of order")
            if self.hub.nonsense is not None:
                self._send(self.hub.nonsense)
            else:
                self._route(path, query, body)
        except _RefusedError as refused:
            headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
            self._send(b"{}", refused.status, {key: text for key, text in headers.items() if text})

    def _send(
        self, content: bytes, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for key, text in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, tree: Any, status: int = 200) -> None:
        self._send(json.dumps(tree).encode(), status)

    def _route(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        parts = path.strip("/").split("/")
        match parts:
            case ["api", "validate-yaml"]:
                self._validate(json.loads(body)["content"])
            case ["api", "repos", "create"]:
                self._create(json.loads(body))
            case ["api", "models"]:
                self._list(query)
            case ["api", "models", owner, name, *rest]:
                self._model_call(f"{owner}/{name}", rest, body)
            case [owner, name, "info", "lfs", "objects", "batch"]:
                self._batch(json.loads(body)["objects"])
            case ["large", oid]:
                self.hub.large[oid] = body
                self._send(b"")
            case [owner, name, "resolve", revision, file]:
                self._file(f"{owner}/{name}", revision, file)
            case _:
                raise _RefusedError(404)

    def _is_known(self) -> bool:
        sent = self.headers.get("Authorization")
        if sent not in (None, f"Bearer {TOKEN}"):
            raise _RefusedError(401, message="Invalid credentials in Authorization header")
        return sent is not None

    def _model(self, name: str, *, files: bool = False) -> Model:
        known = self._is_known()
        if name not in self.hub.models or (self.hub.models[name].private and not known):
            raise _RefusedError(404 if known else 401, "RepoNotFound", "Repository not found")
        model = self.hub.models[name]
        if files and model.gated:
            raise _RefusedError(403, "GatedRepo", "Access is restricted")
        return model

    def _validate(self, content: str) -> None:
        try:
            data: Any = ModelCard(content).data
            if not data.library_name or not data.eval_results:
                raise ValueError("there are no results")
        except (ValueError, AttributeError) as error:
            self._json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        else:
            self._json({"errors": [], "warnings": []})

    def _create(self, asked: dict[str, Any]) -> None:
        if not self._is_known():
            raise _RefusedError(401, message="Invalid username or password.")
        if asked["organization"] != OWNER:
            raise _RefusedError(403, message="You don't have the rights to create a model here")
        name = f"{asked['organization']}/{asked['name']}"
        private = asked.get("visibility") == "private" or asked.get("private", False)
        self.hub.models[name] = Model(private=private)
        self._json({"url": f"{self.hub.address}/{name}"})

    def _list(self, query: dict[str, list[str]]) -> None:
        known = self._is_known()
        self._json(
            [
                self._info(name, model, "main")
                for name, model in self.hub.models.items()
                if (known or not model.private)
                and query.get("author", [name.split("/")[0]])[0] == name.split("/")[0]
                and query["filter"][0] in (model.library, *self._card(model).get("tags", ()))
            ]
        )

    def _card(self, model: Model) -> dict[str, Any]:
        text = model.files.get("README.md", b"").decode()
        data: Any = ModelCard(text).data if text else None
        return dict(data.to_dict()) if data else {}

    def _info(self, name: str, model: Model, revision: str) -> dict[str, Any]:
        commit = model.at(revision)
        if commit is None:
            raise _RefusedError(404, "RevisionNotFound", "Invalid rev id")
        card = self._card(model)
        files = model.commits.get(commit, {})
        return {
            "id": name, "sha": commit, "private": model.private, "downloads": 1234,
            "lastModified": _UPDATED, "tags": card.get("tags", []), "cardData": card,
            "library_name": model.library or card.get("library_name"),
            "siblings": [{"rfilename": file, "size": len(files[file])} for file in files],
        }  # fmt: skip

    def _model_call(self, name: str, rest: list[str], body: bytes) -> None:
        model = self._model(name, files=False)
        match rest:
            case []:
                self._json(self._info(name, model, "main"))
            case ["revision", revision]:
                self._json(self._info(name, model, revision))
            case ["preupload", _]:
                asked = [file["path"] for file in json.loads(body)["files"]]
                modes = {True: "lfs", False: "regular"}
                files = [
                    {
                        "path": file,
                        "uploadMode": modes[file.endswith(".safetensors")],
                        "shouldIgnore": False,
                    }
                    for file in asked
                ]
                self._json({"files": files})
            case ["commit", _]:
                self._commit(name, model, body)
            case _:
                raise _RefusedError(404)

    def _batch(self, objects: list[dict[str, Any]]) -> None:
        for one in objects:
            one["actions"] = {"upload": {"href": f"{self.hub.address}/large/{one['oid']}"}}
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, model: Model, body: bytes) -> None:
        files = dict(model.files)
        for line in body.splitlines():
            match json.loads(line):
                case {"key": "file", "value": {"path": path, "content": content}}:
                    files[path] = base64.b64decode(content)
                case {"key": "lfsFile", "value": {"path": path, "oid": oid}}:
                    files[path] = self.hub.large[oid]
                case {"key": "deletedFile", "value": {"path": path}}:
                    del files[path]
        commit = model.commit(files)
        self._json({"commitUrl": f"{self.hub.address}/{name}/commit/{commit}", "commitOid": commit})

    def _file(self, name: str, revision: str, file: str) -> None:
        model = self._model(name, files=True)
        commit = model.at(revision)
        if commit is None:
            raise _RefusedError(404, "RevisionNotFound", "Invalid rev id")
        if file not in model.commits[commit]:
            raise _RefusedError(404, "EntryNotFound", "Entry not found")
        content = model.commits[commit][file]
        large = file.endswith(".safetensors")
        digest = hashlib.sha256(content).hexdigest() if large else git_digest(content)
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{digest}"',
            "X-Linked-Size": str(len(content)),
        }
        self._send(self.hub.damage.get(file, bytes)(content), headers=headers)


@contextmanager
def hub_stand_in(cache: Path) -> Iterator[Hub]:
    """Start a hub, and let huggingface_hub of this process use it, with a cache of its own."""
    import huggingface_hub
    from huggingface_hub import constants

    hub = Hub()
    verbs = {f"do_{verb}": _Handler.answer for verb in ("GET", "HEAD", "POST", "PUT")}
    handler = type("Handler", (_Handler,), {"hub": hub, **verbs})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    server.handle_error = lambda *_request: None  # type: ignore[method-assign] # who gave up waiting
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("HF_TOKEN", TOKEN)
        patch.setattr(constants, "ENDPOINT", hub.address)
        url = "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + url)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        huggingface_hub.close_session()
        yield hub
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
