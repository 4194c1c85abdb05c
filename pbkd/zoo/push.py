"""Push a student to the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pbkd.errors import HubError
from pbkd.zoo.card import CARD, read_card
from pbkd.zoo.hub import FILES, read_hub_name
from pbkd.zoo.hub_calls import SECONDS, HubMissingError, address, hub_call
from pbkd.zoo.publication import write_publication
from pbkd.zoo.store import resolve_student

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

    from pbkd.plugin.registry import Registry

__all__ = ["Pushed", "push_student"]


@dataclass(frozen=True)
class Pushed:
    """A student that is on the hub.

    Attributes:
        name: OWNER/NAME.
        commit: The address of the commit.
        files: The names of its files.
        licence: Its licence; None if it has none.
    """

    name: str
    commit: str
    files: tuple[str, ...]
    licence: str | None


def push_student(
    registry: Registry,
    run: Path,
    name: str,
    *,
    private: bool = False,
    licence: str | None = None,
    half: bool = False,
) -> Pushed:
    """Push the student of a finished run, or of a zoo folder, to the hub in one commit.

    A run's student gets a card and a README, as `pbkd zoo add` writes them; the files of a zoo
    folder are pushed as they are. The login is made by `hf auth login`.

    Args:
        registry: Provides the zoo's models.
        run: The folder of the run, or a student's folder or name in the zoo.
        name: OWNER/NAME. A model that is missing is created; one of another library is refused.
        private: Whether nobody else may see the model.
        licence: Licence of the weights (default: the licence of the zoo's teacher, if it has one).
        half: Whether to round the weights to half precision.

    Raises:
        HubError: If the name is invalid, or the hub refuses the push or cannot be reached.
        RunFolderError: If the run has not finished, or a file of it is damaged or was changed.
        ZooError: If the student cannot be loaded.
    """
    found = read_hub_name(name)
    if found is None or found.revision:
        raise HubError(
            f"'{name}' is not OWNER/NAME: letters and digits, with single dots, dashes or"
            " underscores between them."
        )
    here = _present(name)
    _check_present(name, here, private=private)
    folder = resolve_student(run)
    if (folder / CARD).is_file():
        if licence or half:
            raise HubError(
                f"'{folder}' is pushed as it is: set --licence and --half in `pbkd zoo add`."
            )
        return _upload(folder, name, here, private=private)
    with TemporaryDirectory() as stage:
        write_publication(registry, folder, Path(stage), name, licence=licence, half=half)
        return _upload(Path(stage), name, here, private=private)


def _present(name: str) -> ModelInfo | None:
    """Return what the hub has under a name; None if it has nothing."""
    from huggingface_hub import HfApi

    try:
        with hub_call(name):
            return HfApi().model_info(name, timeout=SECONDS)
    except HubMissingError:
        return None


def _check_present(name: str, here: ModelInfo | None, *, private: bool) -> None:
    """Refuse to push over a model of another library, or publicly what should be private."""
    if here is None:
        return
    if here.library_name not in (None, "pbkd"):
        raise HubError(f"'{name}' is a model of {here.library_name}: choose another name.")
    if private and not here.private:
        raise HubError(f"'{name}' is public: make it private at {address()}/{name}/settings.")


def _upload(folder: Path, name: str, here: ModelInfo | None, *, private: bool) -> Pushed:
    """Commit a student's files, and delete those of the one before that it lacks."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    files = tuple(file for file in FILES if (folder / file).is_file())
    present = {file.rfilename for file in (here and here.siblings) or ()}
    stale = [file for file in FILES if file in present and file not in files]
    with hub_call(name):
        if here is None:
            HfApi().create_repo(name, private=private or None, exist_ok=True)
        done = HfApi().create_commit(
            name,
            [
                *(CommitOperationAdd(file, folder / file) for file in files),
                *(CommitOperationDelete(file) for file in stale),
            ],
            commit_message="Add a student by pbkd",
        )
    return Pushed(name, done.commit_url, files, read_card(folder / CARD).licence)
