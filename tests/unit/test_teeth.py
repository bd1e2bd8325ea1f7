"""What `./dev teeth` takes away is still there, and the tests that must notice are too."""

import ast
from pathlib import Path

import pytest

from tests.teeth.__main__ import BEGIN, END, taken_away
from tests.teeth.defences import DEFENCES, Defence

ROOT = Path(__file__).parents[2]


@pytest.mark.scenario("faults: Teeth")
@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.name)
def test_each_defence_can_be_taken_away(defence: Defence) -> None:
    left = taken_away((ROOT / defence.file).read_text(), defence)
    if defence.file.endswith(".py"):
        ast.parse(left)
    for test in defence.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / file).read_text()


@pytest.mark.scenario("faults: Teeth")
def test_the_page_lists_every_defence_as_noticed() -> None:
    _, _, rest = (ROOT / "docs" / "reliability.md").read_text().partition(BEGIN)
    listed, _, _ = rest.partition(END)
    assert [line.split(" | ")[0].removeprefix("| ") for line in listed.splitlines() if line.endswith("` |")] == [
        defence.what for defence in DEFENCES
    ]
    assert len(DEFENCES) >= 20
