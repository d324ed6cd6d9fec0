"""What is expected of choices, as weights."""

from __future__ import annotations

import numpy as np
import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.search.priors import choice_weights
from tests.search.spaces import space


def test_weights_are_multiples_of_their_mean_and_1_where_nothing_is_expected():
    weights = choice_weights(space(1), {"layer.0.attention.heads": (3, 2, 1)})
    assert weights is not None
    np.testing.assert_allclose(weights, [[1.5, 1, 0.5, 0], [1, 1, 1, 1]])


def test_nothing_expected_is_no_weights():
    assert choice_weights(space(1), {}) is None


def test_a_prior_of_no_dimension_is_refused():
    with pytest.raises(InputError, match="strategy/priors/rank"):
        choice_weights(space(1), {"rank": (1, 1)})


def test_a_prior_has_a_weight_for_each_choice():
    with pytest.raises(InputError, match="2 weights for 4 choices") as refused:
        choice_weights(space(1), {"layer.0.ffn.width": (1, 1)})
    assert "1536, 1152, 768, 384" in str(refused.value.remedy)
