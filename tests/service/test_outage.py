"""What is away is said once, and once when it is back."""

from __future__ import annotations

import logging

import pytest

from elasticnas.service.outage import LONGEST_PAUSE_SECONDS, Outage


def test_an_outage_is_logged_once_and_tried_less_and_less_often(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    outage = Outage(logging.getLogger("here"), "asking")
    for _ in range(2):
        pauses = [outage.goes_on("nobody answers") for _ in range(20)]
        assert pauses == sorted(pauses)
        assert pauses[0] < 1
        assert pauses[-1] == LONGEST_PAUSE_SECONDS
        outage.is_over()
        outage.is_over()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2
    assert "asking: nobody answers" in caplog.records[0].message


def test_a_fault_brings_its_traceback_once_for_each_kind(caplog: pytest.LogCaptureFixture):
    outage = Outage(logging.getLogger("here"), "asking")
    outage.goes_on("away")
    for error in (ValueError("a"), ValueError("b"), KeyError("c"), KeyError("d")):
        outage.goes_on("a bug", fault=error)
    shown = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert shown == [ValueError, KeyError]
