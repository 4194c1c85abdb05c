from __future__ import annotations

from importlib import import_module

import pytest

from pbkd.plugin.interfaces import PACKAGES


@pytest.mark.parametrize("name", ["pbkd", *PACKAGES])
def test_the_public_names_of_a_package_are_listed(name: str) -> None:
    package = import_module(name)
    assert set(package.__all__) <= set(dir(package))
    assert {"__name__", "__doc__"} <= set(dir(package))
    assert all(hasattr(package, exported) for exported in package.__all__)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'x'"):
        package.x  # noqa: B018
