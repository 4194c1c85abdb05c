"""A table of the students on the Hugging Face hub."""

from __future__ import annotations

from typing import Any

from pbkd.zoo.hub_calls import SECONDS, address, hub_call

__all__ = ["HEADS", "MOST", "students_on_hub"]

HEADS = ("model", "data", "accuracy", "licence", "downloads", "updated")
MOST = 100
"""The most students that are listed."""


def students_on_hub(owner: str | None = None) -> list[tuple[str, ...]]:
    """Return a row for each student that pbkd pushed, the newest first; empty cells are unknown.

    Args:
        owner: A user or an organisation; None for all.

    Raises:
        HubError: If the hub cannot be reached.
    """
    with hub_call():
        return list(map(_row, _models(owner)))


def _models(owner: str | None) -> list[Any]:
    """Ask for the models once: `HfApi.list_models` waits without end, and asks six times."""
    from huggingface_hub import ModelInfo
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    make: Any = ModelInfo  # which has no types
    wanted = {"filter": "pbkd", "sort": "lastModified", "limit": f"{MOST}"}
    wanted |= {"full": "true", "cardData": "true"} | ({"author": owner} if owner else {})
    answer = get_session().get(
        f"{address()}/api/models", params=wanted, headers=build_hf_headers(), timeout=SECONDS
    )
    hf_raise_for_status(answer)
    return [make(**model) for model in answer.json()]


def _row(info: Any) -> tuple[str, ...]:
    card = info.card_data
    scores = [one for one in (card and card.eval_results) or () if one.dataset_split == "test"]
    data, share = (scores[0].dataset_name, scores[0].metric_value) if scores else ("", "")
    is_share = isinstance(share, (int, float)) and 0 <= share <= 1
    licence = (card and (card.license_name or card.license)) or ""
    updated = info.last_modified
    return (
        info.id,
        str(data),
        f"{100 * share:.2f} %" if is_share else "",
        str(licence),
        "" if info.downloads is None else f"{info.downloads:,}",
        f"{updated:%Y-%m-%d}" if updated else "",
    )
