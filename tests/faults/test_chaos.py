"""The chaos run, short enough for every commit."""

from pathlib import Path

import pytest

from coder.testing.chaos import FOUND, run


@pytest.mark.scenario("faults: Random faults")
async def test_a_short_run_of_random_faults_loses_and_leaves_nothing(tmp_path: Path) -> None:
    found = await run(seed=7, minutes=0.2, sessions=3, folder=tmp_path)
    assert not any(found[name] for name in FOUND), found
    assert found["faults"]
