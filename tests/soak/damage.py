"""Damage to the bytes of a file, and hostile values in the tree of one."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tests.soak.guard import MODULE

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

WORDS = (
    b"null true false nan inf -1 0 1e999 99999999999999999999 {} [] '' ../../x /etc/passwd ${oc.env"
    b":HOME} ${data} &a *a !!python/name:os.system \x00 \xff\xfe name weights teacher builder"
    b" greedy digits workers distill seed out keep blocks format __class__ .. : , \n \x1b[31m \r"
    b" 1:59:59 0x10 [[[[[[[[[[ {{{{{{{{{{ \xef\xbb\xbf \xe2\x80\xae =1+1 " + MODULE.encode()
)
_DEEP: Any = "end"
for _ in range(300):
    _DEEP = [_DEEP]
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63 - 1, 10**18, 1e308, -1e308, 5e-324, 0.5, "", "x", "nan",
    "\x1b[31m\r\u202e\u200b", "\x00", "../../x", "/etc/passwd", "${oc.env:HOME}", "=1+1",
    "é" * 5000,
    f"{MODULE}:run", f"{MODULE}.py", "<script>", "[red]", "os.system", [], {}, [[]], [None] * 300,
    {"name": f"{MODULE}:run"}, {"__class__": "os"}, _DEEP, {str(i): i for i in range(500)},
)  # fmt: skip


def mutated(whole: bytes, words: list[bytes], chance: random.Random) -> bytes:
    """Return a file with a few bytes changed, cut out, doubled or put in."""
    content = bytearray(whole)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(content) + 1)
        span = slice(at, min(len(content), at + chance.choice((1, 2, 8, 40))))
        change = chance.randrange(5)
        if change == 0 and at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        elif change == 1:
            del content[span]
        elif change == 2:
            content[at:at] = content[span]
        elif change == 3:
            content[span] = chance.choice(words)
        else:
            del content[at:]
    return bytes(content)


def mutated_tree(tree: Any, chance: random.Random) -> Any:
    """Return plain data with a few values replaced, removed, doubled or moved."""
    changed = copy.deepcopy(tree)
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_places(changed))
        if not places:
            return copy.deepcopy(chance.choice(VALUES))
        parent, key = chance.choice(places)
        change = chance.randrange(8)
        if change == 0:
            del parent[key]
        elif change == 1:
            source, name = chance.choice(places)
            parent[key] = copy.deepcopy(source[name])
        elif change == 2 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif change == 2:
            parent[chance.choice(("", "\x1b[2J", "name", MODULE, "x" * 999))] = parent.pop(key)
        else:
            parent[key] = copy.deepcopy(chance.choice(VALUES))
    return changed


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (container, key) of a tree."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in list(keys):
        yield tree, key
        yield from _places(tree[key])
