"""What a metric depends on has one key, and messages of earlier versions say it too."""

from __future__ import annotations

import pytest

from elasticnas.api_schemas.conditions import Conditions, FineTuning
from elasticnas.api_schemas.messages import EvaluateSubnets
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.verification import RowSplit

CONDITIONS = Conditions(
    supernet="s" * 64,
    dataset="d" * 64,
    task="text-classification",
    max_length=64,
    split=RowSplit(share=0.25, part="search"),
    precision=Precision.BFLOAT16,
)


@pytest.mark.parametrize(
    "changed",
    [
        {"supernet": "t" * 64},
        {"dataset": "e" * 64},
        {"task": "text-regression"},
        {"settings": {"shots": 5}},
        {"max_length": 65},
        {"split": None},
        {"split": RowSplit(share=0.25, part="verification")},
        {"precision": Precision.FLOAT32},
        {"version": 2},
        {"fine_tuning": FineTuning(rows="r" * 64, settings={"steps": 5})},
    ],
)
def test_a_change_of_any_condition_changes_the_key(changed: dict[str, object]):
    assert CONDITIONS.model_copy(update=changed).key != CONDITIONS.key


def test_trainings_differ_by_their_rows_and_settings_and_none_has_the_key_of_earlier_versions():
    trained = [
        CONDITIONS.model_copy(update={"fine_tuning": FineTuning(rows=rows, settings=settings)})
        for rows, settings in (("r", {"steps": 5}), ("q", {"steps": 5}), ("r", {"steps": 6}))
    ]
    assert len({each.key for each in trained}) == 3
    known = "ae6d08b9147cea14cdeaeee109f5ee147bc5578c87022af3887c05cb300a3b8d"
    assert CONDITIONS.key == known


def test_equal_conditions_have_one_key_in_every_process():
    again = Conditions.model_validate_json(CONDITIONS.model_dump_json())
    assert again.key == CONDITIONS.key
    ordered = [
        CONDITIONS.model_copy(update={"settings": s}) for s in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    ]
    assert ordered[0].key == ordered[1].key


def test_a_message_that_an_earlier_version_left_in_the_queue_is_understood():
    left = {
        "search_id": "s1",
        "revision": 3,
        "supernet_digest": CONDITIONS.supernet,
        "dataset_digest": CONDITIONS.dataset,
        "task": CONDITIONS.task,
        "max_length": CONDITIONS.max_length,
        "precision": "bfloat16",
        "split": {"share": 0.25, "part": "search"},
        "subnets": [{"number": 1, "subnet": {}}],
    }
    message = EvaluateSubnets.model_validate(left)
    assert message.conditions == CONDITIONS
    assert message.revision == 3
    assert EvaluateSubnets.model_validate_json(message.model_dump_json()) == message
