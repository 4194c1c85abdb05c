"""Students on the Hugging Face hub, fetched into its cache."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pbkd._version import __version__
from pbkd.core.files import file_digest
from pbkd.errors import HubError, first_line
from pbkd.models.student_files import NETWORK, RECIPE, WEIGHTS
from pbkd.zoo.card import CARD, README
from pbkd.zoo.hub_calls import SECONDS, HubUnreachableError, address, hub_call

__all__ = ["FILES", "HubName", "fetch_card", "fetch_student", "read_hub_name"]

FILES = (NETWORK, WEIGHTS, RECIPE, CARD, README)
"""The files of a student; nothing else is fetched or pushed."""
_MOST_BYTES = 8 * 2**20  # of a file other than weights, as `read_file` takes
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


@dataclass(frozen=True)
class HubName:
    """The name of a model on the hub.

    Attributes:
        repository: OWNER/NAME.
        revision: A branch, a tag or a commit; None for the newest.
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        """Return the name as a user writes it."""
        return self.repository + (f"@{self.revision}" if self.revision else "")


def read_hub_name(text: str) -> HubName | None:
    """Return the name in `OWNER/NAME` or `OWNER/NAME@REVISION`; None if the text is neither."""
    match = _NAME.fullmatch(text)
    if not match or ".." in text:
        return None
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(match[1])
    except HFValidationError:
        return None
    return HubName(match[1], match[2])


def fetch_student(name: HubName) -> Path:
    """Fetch a student's files, unless the cache of huggingface_hub has them already.

    Without a network, and with `HF_HUB_OFFLINE=1`, the student is taken from the cache.

    Args:
        name: The name of the student.

    Returns:
        The folder of the cache that holds the files of one revision.

    Raises:
        HubError: If there is no such student, or a file of it is damaged.
    """
    return _fetch(name, required=(WEIGHTS, RECIPE), optional=(NETWORK,))


def fetch_card(name: HubName) -> Path:
    """Fetch a model's README, and its `card.yaml` if there is one, like `fetch_student`."""
    return _fetch(name, required=(README,), optional=(CARD,))


def _fetch(name: HubName, *, required: tuple[str, ...], optional: tuple[str, ...]) -> Path:
    """Fetch files of one revision, the optional ones first: after the last one all are there."""
    unreachable = None
    wanted = [*optional, *required]
    try:
        sizes = _sizes(name)
    except HubUnreachableError as error:
        unreachable = error
    else:
        wanted = [file for file in wanted if file in sizes or file in required]
        _check_files(name, sizes, wanted)
    revision, path = name.revision, None
    for file in wanted:
        found = _file(name, file, revision, unreachable, needed=file in required)
        if found:
            path, revision = found, found.parent.name
    assert path
    return path.parent


def _sizes(name: HubName) -> dict[str, int]:
    """Return the size of each of a model's files in bytes."""
    from huggingface_hub import HfApi

    with hub_call(name.repository):
        info = HfApi().model_info(
            name.repository, revision=name.revision, timeout=SECONDS, files_metadata=True
        )
        return {str(file.rfilename): int(file.size or 0) for file in info.siblings or ()}


def _check_files(name: HubName, sizes: dict[str, int], wanted: list[str]) -> None:
    for file in wanted:
        if file not in sizes:
            raise HubError(f"'{name}' is no student of pbkd: it has no '{file}'.")
        if file != WEIGHTS and sizes[file] > _MOST_BYTES:
            raise HubError(f"'{file}' of '{name}' is larger than {_MOST_BYTES:,} bytes.")


def _file(
    name: HubName,
    file: str,
    revision: str | None,
    unreachable: HubUnreachableError | None,
    *,
    needed: bool,
) -> Path | None:
    """Return a file in the cache, fetched if the hub can be reached; None if it is not needed."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        with hub_call(name.repository):
            path = hf_hub_download(
                name.repository,
                file,
                revision=revision,
                local_files_only=unreachable is not None,
                library_name="pbkd",
                library_version=__version__,
            )
    except HubUnreachableError as error:
        cause = error.__cause__ or error
        if not unreachable or not isinstance(cause, LocalEntryNotFoundError):
            reason = f"{type(cause).__name__}: {first_line(cause)[:-1]}"
            raise HubError(
                f"'{file}' of '{name}' was not fetched whole ({reason}): try again."
            ) from error
        if not needed:
            return None
        raise HubUnreachableError(f"'{name}' is not in the cache: {unreachable}") from error
    _check_content(name, Path(path))
    return Path(path)


def _check_content(name: HubName, path: Path) -> None:
    """Compare a file with its checksum, which is its name in the cache; delete a damaged one.

    The cache names a file by its SHA-256, or by git's SHA-1 if it is in git. Where there are no
    links, it has no such names, and nothing is compared.
    """
    blob = path.resolve()
    match len(blob.name):
        case 64:
            found = file_digest(blob)
        case 40:
            content = blob.read_bytes()
            head = f"blob {len(content)}\0".encode()
            found = hashlib.sha1(head + content, usedforsecurity=False).hexdigest()
        case _:
            return
    if found != blob.name:
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise HubError(
            f"'{path.name}' of '{name}' was damaged on its way from {address()}, or in the cache:"
            " it was deleted from there, so do the same again to fetch it anew."
        )
