"""Which agents rest when all of them hold more than they may."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from coder.memory import Holding, to_rest, usable_bytes


def holding(name: str, size: int, last_used: float, *, may_rest: bool = True, is_spare: bool = False) -> Holding:
    return Holding(keys=((name, "demo"),), bytes=size, may_rest=may_rest, is_spare=is_spare, last_used=last_used)


def names(found: list[Holding]) -> list[str]:
    return [each.keys[0][0] for each in found]


def test_spares_rest_first_then_what_was_used_longest_ago_and_no_more_than_needed():
    agents = (
        holding("busy", 500, 0, may_rest=False),
        holding("unknown", 0, 1),
        holding("old", 100, 2),
        holding("new", 100, 9),
        holding("spare", 100, 20, is_spare=True),
    )
    for order in permutations(agents):
        assert names(to_rest(order, 800)) == []
        assert names(to_rest(order, 799)) == ["spare"]
        assert names(to_rest(order, 700)) == ["spare"]
        assert names(to_rest(order, 699)) == ["spare", "old"]
        assert names(to_rest(order, 1)) == ["spare", "old", "new"]


_AGENTS = st.lists(
    st.builds(
        Holding,
        keys=st.just(()),
        bytes=st.integers(0, 1000),
        may_rest=st.booleans(),
        is_spare=st.booleans(),
        last_used=st.floats(0, 100),
    ),
    max_size=8,
)


@given(_AGENTS, st.integers(0, 4000))
def test_what_goes_on_fits_or_could_not_rest(agents: list[Holding], budget: int):
    found = to_rest(agents, budget)
    left = sum(each.bytes for each in agents) - sum(each.bytes for each in found)
    could = [each for each in agents if each.may_rest and each.bytes]
    assert left <= budget or len(found) == len(could)
    assert all(each.may_rest for each in found)
    assert not found or left + found[-1].bytes > budget


def test_a_machine_has_some_memory():
    assert usable_bytes() > 2**20
