"""YAML files, which may be untrusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pbkd.config.checksum_line import check_checksum
from pbkd.config.yaml_values import MOST_BYTES, YamlLimitError, lossless
from pbkd.core.files import read_file
from pbkd.errors import ConfigError, RunFolderError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["read_yaml"]


def read_yaml(file: Path, parse: Callable[[str], Any] = lossless) -> dict[str, Any]:
    """Read a YAML file that contains a mapping, or nothing.

    Args:
        file: The YAML file, untrusted input: at most 256 KiB in UTF-8.
        parse: `lossless` or `plain`.

    Returns:
        The mapping, of plain Python values. With `lossless`, numbers, booleans and null that are
        written in an unusual way are text, which is converted once the type of their option is
        known.

    Raises:
        ConfigError: The file does not exist, does not match its checksum, is not YAML, is too large
            or too deep, or has aliases or tags.
    """
    try:
        text = read_file(file, MOST_BYTES).decode("utf-8-sig")
        check_checksum(text, file)
        content = parse(text)
    except ConfigError:
        raise
    except RunFolderError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ConfigError(f"there is no configuration file '{file}'.") from error
        raise ConfigError(str(error)) from error
    except YamlLimitError as error:
        raise ConfigError(f"'{file}' {first_line(error)}") from error
    except Exception as error:
        raise ConfigError(f"'{file}' is not YAML: {first_line(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"'{file}' must hold a mapping of keys to values.")
    return cast("dict[str, Any]", content)
