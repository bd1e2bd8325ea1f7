"""Every byte is accounted for: random edits, turns, decisions and crashes against a model of what they leave.

The ordinary run is short. `./dev test --ledger` runs 200 examples of 30 steps. Both are the same every time: a failure
is shown with its steps, and comes again.
"""

import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis.stateful import run_state_machine_as_test

from coder.testing.mortal_desk import open_nursery
from tests.faults.ledger import Ledger

STEPS = 30
SHORT, WHOLE = (2, 8), (8, 25)
"""How many seeds, and how many examples of each."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each seed is a test of its own, for another core to run."""
    seeds, examples = WHOLE if metafunc.config.getoption("--ledger") else SHORT
    metafunc.parametrize(("seed", "examples"), [(seed, examples) for seed in range(1, seeds + 1)])


@pytest.mark.timeout(1800)
@pytest.mark.scenario("changes: the recorded decisions explain every byte")
def test_the_books_explain_every_byte(database_url: str, seed: int, examples: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ledger-") as name, open_nursery(Path(name), database_url) as nursery:

        class Here(Ledger):
            def __init__(self) -> None:
                super().__init__(nursery, Path(name))

        settings = hypothesis.settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        run_state_machine_as_test(hypothesis.seed(seed)(Here), settings=settings)
