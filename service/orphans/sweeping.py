"""Clearing away what killed processes left behind: half-made rows and files."""

from __future__ import annotations

import shutil
import time
from datetime import timedelta
from pathlib import Path

from elasticnas.service.database import Database, now
from elasticnas.service.supernets import repository as supernets

FAILED_REGISTRATIONS = timedelta(days=7)
"""How long a super-network that cannot be used is shown with its problem."""


def sweep_registrations(database: Database) -> None:
    """Delete super-networks whose checkpoint was found to be unusable a while ago."""
    with database.write() as session:
        supernets.sweep(session, now() - FAILED_REGISTRATIONS)


def sweep_folder(folder: Path, older_than_seconds: float) -> None:
    """Delete the entries of a folder that nobody has written to for so long."""
    before = time.time() - older_than_seconds
    for entry in folder.iterdir():
        try:
            if entry.stat().st_mtime >= before:
                continue
        except FileNotFoundError:
            continue  # an upload that is just over
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
