"""Which of a super-network's classes the labels of a dataset are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.names import as_field

_PLACEHOLDER = re.compile(r"label_(0|[1-9]\d{0,8})", re.ASCII)
"""What Transformers calls a class without a name: ``LABEL_3`` is class 3."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)
_BOOLEANS = ("false", "true")
LISTED = 20
"""How many names an error lists."""


def classes_by_name(
    names: Sequence[str],
    *,
    given: bool,
    head: int,
    head_names: Sequence[str] | None,
    field: str,
) -> tuple[int, ...]:
    """The class of the super-network for each of a dataset's label names.

    ``head`` is how many classes the super-network predicts, ``head_names`` what its checkpoint
    calls them; None where it names none of them. A name is the class of the same name, capitals
    and spaces around it aside; ``LABEL_3`` is class 3. Names that were ``given`` say the order
    themselves, and must not contradict the super-network's.

    Raises:
        InputError: a name is none of the super-network's, two are one class, the given order is
            another one, or nothing says which class a name is.
    """
    if head_names is not None and list(head_names) == [str(k) for k in range(head)]:
        head_names = None  # numbers name nothing
    numbers = _placeholders(names)
    if numbers is not None and (head_names is None or _placeholders(head_names) is None):
        classes = numbers
        if max(classes) >= head:
            raise InputError(
                f"the super-network predicts {head} classes, 0 to {head - 1}",
                field=field,
                value=names[classes.index(max(classes))],
            )
    elif head_names is not None:
        classes = _matched(names, head_names, field)
    elif given:
        return tuple(range(len(names)))
    else:
        raise InputError(
            "the labels are names, and neither the super-network nor the dataset says which class "
            "each of them is",
            field=field,
            value=_listed(names),
            remedy="register the dataset with label_names in the order of the super-network's "
            f"{head} classes",
        )
    if len(set(classes)) < len(classes):
        twice = next(c for c in classes if classes.count(c) > 1)
        both = [name for name, c in zip(names, classes, strict=True) if c == twice]
        raise InputError(
            f"two labels of the dataset are class {twice} of the super-network",
            field=field,
            value=_listed(both),
            remedy="spell them alike in the dataset",
        )
    if given and classes != tuple(range(len(names))):
        i = next(i for i, c in enumerate(classes) if c != i)
        theirs = head_names or [f"LABEL_{k}" for k in range(head)]
        raise InputError(
            f"class {i} of the dataset is {names[i]!r}, of the super-network {theirs[i]!r}",
            field=field,
            value=_listed(names),
            remedy="register the dataset without label_names, so that labels are matched by name, "
            f"or with label_names in the super-network's order: {as_field(theirs)}",
        )
    return classes


def require_counted(head_names: Sequence[str] | None, field: str) -> None:
    """Labels without names count the super-network's classes, and its names do not deny it.

    They do if they are numbers or booleans as the labels are, and class k is not called k.

    Raises:
        InputError: label 1 could be class 1, and the class that is called ``1``.
    """
    names = [_folded(name) for name in head_names or ()]
    numbers = [float(name) if _NUMBER.fullmatch(name) else None for name in names]
    are_numbers = None not in numbers
    if not names or not (are_numbers or all(name in _BOOLEANS for name in names)):
        return
    if numbers == list(range(len(names))) or tuple(names) == _BOOLEANS:
        return
    by_place = ",".join(f"LABEL_{k}" for k in range(min(len(names), LISTED)))
    more = ",..." if len(names) > LISTED else ""
    by_name = as_field((head_names or ())[:LISTED])
    raise InputError(
        f"the labels could be places or names: class 0 of the super-network is {names[0]!r}",
        field=field,
        value=_listed(head_names or ()),
        remedy=f"register the dataset with label_names {by_name}{more} if its labels are the "
        f"super-network's names, or with {by_place}{more} if label k is class k",
    )


def _matched(names: Sequence[str], head_names: Sequence[str], field: str) -> tuple[int, ...]:
    exact = {name: index for index, name in enumerate(head_names)}
    folded: dict[str, list[int]] = {}
    for index, name in enumerate(head_names):
        folded.setdefault(_folded(name), []).append(index)
    classes = []
    missing = []
    for name in names:
        alike = [exact[name]] if name in exact else folded.get(_folded(name), [])
        if len(alike) == 1:
            classes.append(alike[0])
        else:
            missing.append(name)
    if missing:
        raise InputError(
            "the super-network has no class of this name, or several; its classes are "
            f"{_listed(head_names)}, the dataset's labels {_listed(names)}",
            field=field,
            value=_listed(missing),
            remedy="call the labels what the super-network calls its classes, or number them",
        )
    return tuple(classes)


def _placeholders(names: Sequence[str]) -> tuple[int, ...] | None:
    """The numbers of names that are all placeholders."""
    found = [_PLACEHOLDER.fullmatch(_folded(name)) for name in names]
    return tuple(int(match[1]) for match in found if match) if all(found) else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
