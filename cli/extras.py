"""The extras of the package, and what a command says that needs one which is not installed."""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib import metadata

from elasticnas.api_schemas.problems import InputError

_OF_EXTRA = re.compile(r"^([\w.-]+).*;.*\bextra == [\"'](\w+)[\"']")
"""A requirement as metadata writes it: ``torch==2.13.0; extra == "worker"``."""


def demand_extras(*extras: str) -> None:
    """Have all packages of some extras, before a command imports the first of them.

    Raises:
        InputError: one is not installed.
    """
    if missing := _missing(extras):
        raise InputError(
            "this command needs packages that are not installed",
            field="packages",
            value=", ".join(missing),
            remedy=f"pip install 'elasticnas[{','.join(extras)}]'",
        )


def has_extras(*extras: str) -> bool:
    """Whether all packages of some extras are installed."""
    return not _missing(extras)


def _missing(extras: Collection[str]) -> list[str]:
    found = (_OF_EXTRA.match(each) for each in metadata.requires("elasticnas") or ())
    packages = {match[1] for match in found if match is not None and match[2] in extras}
    return sorted(name for name in packages if not _is_installed(name))


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True
