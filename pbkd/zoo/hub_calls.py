"""Calls of huggingface_hub, whose errors become sentences."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pbkd.errors import HubError, PbkdError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub.errors import HfHubHTTPError

__all__ = ["SECONDS", "HubMissingError", "HubUnreachableError", "address", "hub_call"]

SECONDS = 10
"""How long to wait for the hub's answer to a question."""
_LOGIN = "log in with `hf auth login`"


class HubMissingError(HubError):
    """The hub has no such model, or none that the user may see."""


class HubUnreachableError(HubError):
    """The hub gives no answer."""


def address() -> str:
    """Return the address of the hub: the environment variable `HF_ENDPOINT`, or huggingface.co."""
    from huggingface_hub import constants

    return constants.ENDPOINT


@contextmanager
def hub_call(repository: str | None = None) -> Iterator[None]:
    """Raise what huggingface_hub raises as `HubError`.

    Its versions use different HTTP clients, each with its own errors: what is not known as
    another error counts as a hub that cannot be reached.

    Args:
        repository: What the call asks for, OWNER/NAME; None if it asks for no single model.
    """
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        with _bars_on_terminals():
            yield
    except PbkdError:
        raise
    except LocalEntryNotFoundError as error:  # in some versions an answer of the hub, without one
        raise HubUnreachableError(first_line(error)) from error
    except HfHubHTTPError as error:
        raise _answer(error, repository) from error
    except OfflineModeIsEnabled as error:
        raise HubUnreachableError("HF_HUB_OFFLINE forbids to ask the hub.") from error
    except HFValidationError as error:
        raise HubError(
            f"'{repository}' is no OWNER/NAME of the hub: {first_line(error)}"
        ) from error
    except Exception as error:
        if "metadata in README.md" in str(error):
            raise HubError(f"the hub refuses the README: {' '.join(str(error).split())}") from error
        kind = type(error).__name__
        raise HubUnreachableError(
            f"{address()} cannot be reached ({kind}: {first_line(error)[:-1]})."
        ) from error


@contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """Let huggingface_hub draw progress bars on terminals only, unless its variable says how."""
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or constants.HF_HUB_DISABLE_PROGRESS_BARS is not None:
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _answer(error: HfHubHTTPError, repository: str | None) -> HubError:
    """Return the sentence for an answer that is an error."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status = error.response.status_code
    if isinstance(error, RevisionNotFoundError):
        return HubError(f"'{repository}' has no such revision at {address()}.")
    if isinstance(error, GatedRepoError):
        return HubError(f"'{repository}' is gated: ask for access at {address()}/{repository}.")
    if isinstance(error, RepositoryNotFoundError):
        return HubMissingError(
            f"there is no model '{repository}' at {address()}, or it is private: check the name,"
            f" or {_LOGIN}."
        )
    if status == 401:
        return HubError(f"{address()} does not accept your token: {_LOGIN}.")
    if status == 403:
        return HubError(
            f"your token may not do this with '{repository}': {_LOGIN} with a token that may."
        )
    reason = f"error {status}" + (f", {error.server_message}" if error.server_message else "")
    text = f"{address()} answers with {' '.join(reason.split())}."
    return HubUnreachableError(text) if status >= 500 or status == 429 else HubError(text)
