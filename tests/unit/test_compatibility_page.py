"""The page of the compatibility table, made from rows without running an agent."""

import re
from datetime import date

import pytest

from bench.compat import BEGIN, END, PAGE, as_page, as_text
from coder.testing.compatibility import COLUMNS, Cell, Row
from coder.testing.real_agents import ALL_NAMES

DAY = date(2026, 1, 2)


def row(agent: str, **cells: Cell) -> Row:
    return Row(agent, agent.title(), f"@made/{agent}", "1.2.3", dict.fromkeys(COLUMNS, Cell("yes")) | cells)


@pytest.mark.scenario("compatibility: The same findings make the same page")
def test_the_same_rows_make_the_same_page_whatever_their_order():
    rows = [row("b", usage=Cell("no", "says nothing")), row("a", usage=Cell("partly", "says little"))]

    text = as_text(rows, [], DAY)

    assert text == as_text(rows[::-1], [], DAY)
    assert text.index("`a`") < text.index("`b`")


@pytest.mark.scenario("compatibility: A cell that is not yes says why")
def test_a_cell_that_is_not_yes_points_at_the_words_of_its_run():
    text = as_text([row("a", usage=Cell("no", "says nothing")), row("b", usage=Cell("no", "says nothing"))], [], DAY)

    assert text.count("no[^1]") == 2
    assert "[^1]: says nothing." in text


@pytest.mark.scenario("compatibility: An agent that cannot be had is named")
def test_an_agent_that_cannot_be_had_is_named():
    assert "Not to be had where the table was made: z." in as_text([row("a")], ["z"], DAY)


def test_the_words_around_the_table_stay():
    page = as_page(f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n", as_text([row("a")], [], DAY))

    assert page.startswith("# Title")
    assert page.endswith("The end.\n")
    assert "old" not in page
    assert as_page(page, as_text([row("a")], [], DAY)) == page


def test_the_tracked_page_has_a_row_for_every_agent():
    text = PAGE.read_text()
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.MULTILINE)
    unlisted = re.search(r"^Not to be had .*: (.+)\.$", text, re.MULTILINE)
    assert sorted([*listed, *(unlisted[1].split(", ") if unlisted else [])]) == sorted(ALL_NAMES)
