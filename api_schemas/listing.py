"""In which order lists come."""

from __future__ import annotations

from enum import StrEnum


class Sort(StrEnum):
    """Of things with an age and a name; with a hyphen the order is reversed."""

    NEWEST = "-created_at"
    OLDEST = "created_at"
    NAME = "name"
    NAME_REVERSED = "-name"


class SearchSort(StrEnum):
    """Of searches."""

    NEWEST = "-created_at"
    OLDEST = "created_at"
    NAME = "name"
    NAME_REVERSED = "-name"
    HYPERVOLUME = "hypervolume"
    LARGEST_HYPERVOLUME = "-hypervolume"


class AgeSort(StrEnum):
    """Of what has only an age to go by."""

    NEWEST = "-created_at"
    OLDEST = "created_at"
