"""What is counted as it happens."""

from coder.tallies import RECENT, Spread, Waits


def test_spreads_together_have_the_figures_of_each():
    one, other = Spread(), Waits()
    for figure in (0.004, 0.3):
        one.note(figure)
    other.note(2000)
    whole = Spread.together((one, other))
    assert (whole.count, whole.sum) == (3, 2000.304)
    counts = dict(whole.cumulated())
    assert (counts[0.005], counts[0.5], counts[1800], counts[float("inf")]) == (1, 2, 2, 3)
    assert Spread.together(()).count == 0


def test_a_median_is_of_the_newest_figures_and_of_all_that_are_asked_for():
    early, late = Waits(), Waits()
    assert Waits.median(early, late) is None
    for _ in range(RECENT):
        early.note(9)
    for _ in range(RECENT):
        early.note(0.00002)
    late.note(-1)
    assert (Waits.median(early), Waits.median(late), Waits.median(late, early)) == (0.00002, 0, 0.00002)
    assert early.count == 2 * RECENT
