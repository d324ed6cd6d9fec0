from __future__ import annotations

import subprocess
import sys

from tests.search.strategies.searching import loop, resumed, run, trials_in_memory

GP = {"name": "gp", "n_startup_trials": 12}


def test_gp_goes_on_from_its_records_as_if_nothing_had_happened():
    undisturbed = run(loop(GP, evaluations=22))
    assert len({p.subnet for p in undisturbed}) == 22
    assert resumed(GP, undisturbed, died_after=12) == [p.subnet for p in undisturbed]


def test_random_holds_one_trial_at_most_however_long_the_search():
    before = trials_in_memory()
    search = loop({"name": "random"}, evaluations=50)
    run(search)
    assert trials_in_memory() - before <= 1


TORCH = """
import sys
import elasticnas.service.app, elasticnas.service.searches.coordinator
from tests.search.strategies.searching import loop, run
for name in ("pareto", "linas", "hill-climbing", "nsga2", "nsga3", "tpe", "random"):
    run(loop({"name": name}, evaluations=24))
print("torch" in sys.modules)
run(loop({"name": "gp", "n_startup_trials": 4}, evaluations=8))
print("torch" in sys.modules)
"""


def test_only_a_search_by_gp_brings_torch_into_the_service():
    ended = subprocess.run(
        [sys.executable, "-c", TORCH], check=True, capture_output=True, text=True
    )
    assert ended.stdout.split() == ["False", "True"]
