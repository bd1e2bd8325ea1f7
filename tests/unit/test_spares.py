"""How many sessions are made ahead where."""

from hypothesis import given
from hypothesis import strategies as st

from coder.spares import BUSY, FORGOTTEN, MOST, sizes

NOW = 10 * FORGOTTEN


def ago(*seconds: float) -> list[float]:
    return sorted(NOW - each for each in seconds)


def test_a_project_gets_as_many_as_were_opened_lately():
    assert sizes({"p": ago(1)}, NOW, 9) == {"p": 1}
    assert sizes({"p": ago(1, 2, BUSY - 1, BUSY + 1)}, NOW, 9) == {"p": 3}
    assert sizes({"p": ago(*range(20))}, NOW, 9) == {"p": MOST}
    assert sizes({"p": ago(FORGOTTEN - 1, FORGOTTEN + 9)}, NOW, 9) == {"p": 1}


def test_a_project_that_is_not_used_gets_none():
    assert sizes({"p": ago(FORGOTTEN + 1), "q": []}, NOW, 9) == {}
    assert sizes({"p": ago(1)}, NOW, 0) == {}


def test_each_project_has_its_first_before_any_has_a_second_and_the_last_used_come_first():
    openings = {"old": ago(FORGOTTEN - 1), "busy": ago(5, 4, 3), "new": ago(2, 1)}
    assert sizes(openings, NOW, 1) == {"new": 1}
    assert sizes(openings, NOW, 3) == {"new": 1, "busy": 1, "old": 1}
    assert sizes(openings, NOW, 4) == {"new": 2, "busy": 1, "old": 1}
    assert sizes(openings, NOW, 5) == {"new": 2, "busy": 2, "old": 1}
    assert sizes(openings, NOW, 99) == {"new": 2, "busy": 3, "old": 1}


_TIMES = st.lists(st.floats(NOW - 2 * FORGOTTEN, NOW), max_size=6).map(sorted)


@given(st.dictionaries(st.sampled_from("abcdef"), _TIMES), st.integers(0, 12))
def test_there_are_never_more_than_the_limit_and_none_is_left_out_for_another_s_second(
    openings: dict[str, list[float]], limit: int
):
    found = sizes(openings, NOW, limit)
    used = {project for project, times in openings.items() if times and NOW - times[-1] < FORGOTTEN}
    assert sum(found.values()) <= limit
    assert found.keys() <= used
    assert all(1 <= size <= MOST for size in found.values())
    assert len(found) == min(limit, len(used))
