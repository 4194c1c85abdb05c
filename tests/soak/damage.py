"""Damage to the content of a file, and a look at what is written outside of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from types import TracebackType

WORDS = (
    b"null true false nan inf -1 0 1e999 99999999999999999999 {} [] '' ../../x /etc/passwd ${oc.env"
    b":HOME} ${data} &a *a !!python/name:os.system \x00 \xff\xfe name weights teacher builder"
    b" greedy digits workers distill seed out keep blocks format __class__ .. : , \n"
)


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


class Outside:
    """Sees whether anything is new in the folder above a folder, or in the current one."""

    def __init__(self, folder: Path) -> None:
        """Watch around `folder`."""
        self._places = (folder.parent, Path.cwd())
        self._inside = folder

    def __enter__(self) -> Outside:
        """Remember what is there."""
        self._before = self._seen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Look again."""
        self._after = self._seen()

    def unchanged(self) -> bool:
        """Say whether nothing was added."""
        return self._after <= self._before

    def _seen(self) -> set[Path]:
        return {path for place in self._places for path in place.iterdir()}
