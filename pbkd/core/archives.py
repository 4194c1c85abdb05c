"""A bound on what a zip archive may become when it is unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import zipfile

__all__ = ["expansion_of"]

_SMALL, _MOST_EXPANDED = 2**29, 200  # bytes of content, and how many of them a byte may make


def expansion_of(archive: zipfile.ZipFile) -> str | None:
    """Say how much an archive expands that may be a zip bomb; None for any other.

    It is one if it is more than 200 times as large unpacked, and larger than 512 MiB; arrays of
    real data compress less.
    """
    unpacked = sum(info.file_size for info in archive.infolist())
    packed = sum(info.compress_size for info in archive.infolist())
    if unpacked <= max(_SMALL, _MOST_EXPANDED * packed):
        return None
    return (
        f"{packed / 1e6:,.1f} MB expand to {unpacked / 1e6:,.0f} MB: save it uncompressed if it is"
        " no attack"
    )
