"""Giving the steps of jobs to workers, and noticing when one of them is lost.

The database is the truth: a step's row says which attempt counts and where it was last saved. What
is sent in its place is another attempt, from there; whatever the earlier one still reports is
dropped, and the worker that is at it is told to stop.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from elasticnas.api_schemas.jobs import JobState
from elasticnas.api_schemas.messages import RunStep, TrainingRows, step_key
from elasticnas.api_schemas.problems import Problem
from elasticnas.service.database import clock
from elasticnas.service.datasets.reading import read_training
from elasticnas.service.http.problems import problem
from elasticnas.service.jobs import recording, repository
from elasticnas.service.jobs.tables import JobRow, StepRow
from elasticnas.service.runtime import Service
from elasticnas.service.supernets.tables import SupernetRow, SupernetState
from elasticnas.service.workers import repository as workers

SENDING = timedelta(seconds=30)
"""How long a process may take from writing down that it sends a message until it is sent."""
