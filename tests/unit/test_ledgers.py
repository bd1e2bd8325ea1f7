"""The comparison of what viewers saw with what is stored, where text was merged on either side."""

from pathlib import Path

import pytest

from coder.model.events import Record, Text, UserText
from coder.model.values import now
from coder.testing.ledgers import Book, Viewer, compare


def piece(seq: int, text: str, first_seq: int | None = None) -> Record:
    until = None if first_seq is None else now()
    event = Text(text=text)
    return Record(seq=seq, first_seq=first_seq, at=now(), until=until, agent="demo", task_id=None, event=event)


ASKED = Record(seq=4, at=now(), agent=None, task_id=None, event=UserText(text="more"))
STORED = (piece(1, "a"), piece(2, "b"), piece(3, "c"), ASKED, piece(5, "d"))


def faults(folder: Path, *seen: Record) -> int:
    book = Book(
        last_seqs={"ses": 5}, worktrees={}, records={"ses": STORED}, tasks=(), active_agents=(), open_requests=()
    )
    return len(compare(book, folder, [Viewer("ses", list(seen))]).faults)


@pytest.mark.scenario("journal: the ledgers compare what is said, whatever was merged")
def test_a_viewer_s_records_are_held_against_the_stored_ones_by_what_they_say(tmp_path: Path) -> None:
    a, b, c, asked, d = STORED
    assert faults(tmp_path, *STORED) == 0
    assert faults(tmp_path, piece(3, "abc", 1), asked, d) == 0
    assert faults(tmp_path, a, piece(3, "bc", 2), asked, d) == 0
    assert faults(tmp_path, a, c, asked, d) > 0, "a piece is missing"
    assert faults(tmp_path, a, b, b, c, asked, d) > 0, "a piece came twice"
    assert faults(tmp_path, piece(2, "ab", 1), piece(3, "bc", 2), asked, d) > 0, "two records overlap"
    assert faults(tmp_path, piece(3, "acb", 1), asked, d) > 0, "other words"
    assert faults(tmp_path, piece(3, "abc", 1), asked) > 0, "the end is missing"
    assert faults(tmp_path, piece(5, "abcd", 1)) > 0, "something between was swallowed"
