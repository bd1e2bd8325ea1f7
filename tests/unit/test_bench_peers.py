from pathlib import Path

import pytest

from bench.peer_programs import find_peer
from bench.results import draw
from bench.rows import Row
from bench.scale import LADDER, Load, highest_carried

CARRIED, LOST = (Load(p50=1.0, p99=p99, cpu=0.5, seconds=5.0) for p99 in (10.0, 51.0))


def test_a_peer_that_is_not_installed_whole_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    program = tmp_path / "peers" / "bridge" / "bin" / "bridge"
    program.parent.mkdir(parents=True)
    program.touch()

    assert find_peer(tmp_path, "bridge", "bin", "bridge") is None
    assert capsys.readouterr().err == "left out: bridge is not installed\n"

    (tmp_path / "peers" / "bridge" / ".stamp").touch()
    assert find_peer(tmp_path, "bridge", "bin", "bridge") == program


@pytest.mark.parametrize("limit", [0, LADDER[0], LADDER[3], LADDER[3] + 1, LADDER[-1], 10_000])
async def test_halving_finds_the_highest_rung_that_is_carried(limit: int):
    tried: list[int] = []

    async def stream(count: int) -> Load:
        tried.append(count)
        return CARRIED if count <= limit else LOST

    assert await highest_carried(stream, {}) == max((rung for rung in LADDER if rung <= limit), default=0)
    assert len(tried) == len(set(tried)) <= 4


async def test_halving_stays_between_what_is_known_already():
    tried: list[int] = []

    async def stream(count: int) -> Load:
        tried.append(count)
        return LOST

    known = {1: CARRIED, LADDER[4]: CARRIED, LADDER[7]: LOST, LADDER[9]: LOST}

    assert await highest_carried(stream, known) == LADDER[4]
    assert set(tried) == {LADDER[5], LADDER[6]}


def test_a_load_that_was_not_there_long_enough_is_not_carried():
    assert Load(1.0, 10.0, 0.5, seconds=2.0).is_carried
    assert not Load(1.0, 10.0, 0.5, seconds=1.9).is_carried


def test_a_figure_of_nothing_can_be_drawn():
    nothing = Row("sessions", "carried", "sessions", 0.0, target=200.0, met=False)

    assert ">0</text>" in draw("sessions", [nothing])
