import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_one(): pytest.skip("no browser")

@pytest.mark.xfail
def test_two(): assert False

@pytest.mark.where_possible
@pytest.mark.parametrize("right", [])
def test_three(right): pass
"""


def run_pytest(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_sample.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "coder.testing.pytest_ci", "-p", "no:cacheprovider", "-rsf", "."]
    return subprocess.run(command, cwd=folder, env=os.environ | {"CI": ci}, capture_output=True, text=True, check=False)


@pytest.mark.scenario("testing: A missing part counts as a failure in CI")
def test_a_skip_fails_in_ci(tmp_path: Path):
    done = run_pytest(tmp_path, "true")

    assert done.returncode == 1
    assert "A skip counts as a failure in CI. Skipped: no browser" in done.stdout
    assert "1 failed, 1 skipped, 1 xfailed" in done.stdout


def test_a_skip_is_a_skip_elsewhere(tmp_path: Path):
    assert run_pytest(tmp_path, "").returncode == 0
