"""Tests that need every real agent, in a run that did not ask for them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.scenario("compatibility: The plain test command leaves the others out")
def test_tests_of_every_agent_are_left_out_unless_asked_for():
    plain, asked = collect(), collect("--all-agents")

    assert "test_what_must_hold" not in plain
    assert "skipped" not in plain
    assert "deselected" in plain
    assert "test_what_must_hold_for_every_agent_holds[codex]" in asked


def collect(*options: str) -> str:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", *options]
    done = subprocess.run(
        [*command, "tests/e2e/test_compatibility.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout
