from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.demo.task import LIBRARIES, write_task


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("task"), train_rows=1000, validation_rows=250)


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_both_files_are_balanced_over_the_libraries(task):
    for path, count in ((task.train, 200), (task.validation, 50)):
        assert Counter(r["library"] for r in rows(path)) == dict.fromkeys(LIBRARIES, count)


def test_no_sentence_stands_in_both_files_or_twice_in_one(task):
    train = [r["sentence"].casefold() for r in rows(task.train)]
    validation = [r["sentence"].casefold() for r in rows(task.validation)]
    assert len(set(train)) == len(train)
    assert len(set(validation)) == len(validation)
    assert not set(train) & set(validation)


def test_no_sentence_names_its_library(task):
    for row in rows(task.train) + rows(task.validation):
        assert row["library"] not in row["sentence"].lower()


def test_more_rows_than_there_are_sentences_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match=r"validation_rows|train_rows"):
        write_task(tmp_path, train_rows=10_000_000, validation_rows=10)
