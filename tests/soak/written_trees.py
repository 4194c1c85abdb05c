"""Trees of plain data, written as an attacker would: with right checksums."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import yaml

from pbkd.core.files import CHECKSUM

__all__ = ["written"]


def written(tree: Any, form: str) -> bytes:
    """Write a tree as YAML, or as JSON with its checksum."""
    if form == "yaml":
        text: str = yaml.safe_dump(tree, allow_unicode=True)
        return text.encode(errors="surrogatepass")
    if isinstance(tree, dict):
        tree = {key: value for key, value in tree.items() if key != CHECKSUM}
        digest = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
        tree[CHECKSUM] = digest
    return json.dumps(tree).encode()
