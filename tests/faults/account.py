"""What the files must be: five dictionaries of files, moved by nothing but edits and what the books say was decided."""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from coder.model.changes import Change, ChangeStatus
from coder.model.decisions import Decision, DecisionState
from coder.testing.mortal_desk import Books
from tests.faults.edits import START, Edit
from tests.faults.trees import File, Objects, Side, Tree, Unfit, carry, chain, parents, read_files

DECIDED = (ChangeStatus.APPLIED, ChangeStatus.REJECTED, ChangeStatus.REVERTED, ChangeStatus.SUPERSEDED)
COMMITTER = "committer of "
"""By whom a commit of `all` or of `applied` is made."""

Place = Literal["checkout", "worktree"]
Moves = Sequence[tuple[Side, Side]]


class Account:
    """The model of one session: both places, the base, the newest snapshot, and the tip of the branch."""

    def __init__(self, books: Books, repository: Path, home: Path) -> None:
        self.books = books
        id = books.session_id
        self.objects = Objects(home / "shadows" / f"{id}.git/objects", repository / ".git/objects")
        self.folders: dict[Place, Path] = {"checkout": repository, "worktree": home / "worktrees" / id[-10:]}
        self.files: dict[Place, Tree] = {"checkout": dict(START), "worktree": dict(START)}
        self.base, self.last = dict(START), dict(START)
        self._branch = repository / ".git/refs/heads/coder" / id[-10:]
        self._tip = self._read_tip()
        self._numbers = itertools.count(1)
        self._mine: set[str] = set()

    def rows(self, *statuses: ChangeStatus) -> list[Change]:
        rows = [row for row in self.books.changes if row.status in statuses]
        return sorted(rows, key=lambda row: (row.decided_at or row.created_at, row.file_path))

    def pending(self) -> list[Change]:
        return sorted(self.rows(ChangeStatus.PENDING), key=lambda row: row.file_path)

    def queued(self) -> list[Decision]:
        return [each for each in self.books.decisions if each.state is DecisionState.QUEUED]

    def moves(self, rows: Sequence[Change], *, backward: bool) -> Moves:
        sides = [self.objects.sides(row) for row in rows]
        return [(after, before) for before, after in sides] if backward else sides

    def fits(self, place: Place, moves: Moves) -> bool:
        """Whether the moves can be made there, and in the base where that follows."""
        return _fits(self.files[place], moves) and (place == "worktree" or _fits(self.base, moves, is_disk=False))

    # what moves it

    def token(self) -> str:
        """A word of a person, that must never be lost."""
        token = f"mine{next(self._numbers)}"
        self._mine.add(token)
        return token

    def agent_token(self) -> str:
        return f"agent{next(self._numbers)}"

    def edit(self, place: Place, edit: Edit, token: str) -> None:
        edit.make(self.folders[place], token)
        self.files[place] = read_files(self.folders[place])

    def edit_among_ruins(self, place: Place, edit: Edit) -> None:
        """Where a host died: files may be half-written until the next one has settled that."""
        before = read_files(self.folders[place])
        edit.make(self.folders[place], self.token())
        after = read_files(self.folders[place])
        for path in before.keys() | after.keys():
            if before.get(path) != after.get(path):
                self._put(place, path, after)

    def follow_branch(self) -> None:
        """Somebody has committed on it by hand."""
        self._tip = self._read_tip()

    def settle(self, books: Books) -> None:
        """Everything that waited is carried out, and the worktree is as the newest snapshot has it."""
        self.learn(books)
        self.last = dict(self.files["worktree"])

    def learn(self, books: Books) -> None:
        """Move the model by what was decided since."""
        old, self.books = self.books, books
        before = {each.id: each.state for each in old.decisions}
        held = {place: self._tokens(files) for place, files in self.files.items()}
        for decision in books.decisions:
            if decision.state is before.get(decision.id):
                continue
            if decision.state is DecisionState.DONE:
                self._fold(decision, old)
            elif decision.state is DecisionState.REFUSED and before.get(decision.id) is DecisionState.QUEUED:
                moves = self._part_moves(decision)
                assert not _fits(self.files["worktree"], moves), decision
        rows = {row.id: row for row in books.changes}
        for row in old.changes:
            if row.status in DECIDED:
                now = rows[row.id]
                assert now.sides == row.sides
                assert now.status in (row.status, ChangeStatus.REVERTED)
        lost = {token for place, files in self.files.items() for token in held[place] - self._tokens(files)}
        assert lost <= self._recorded_tokens(), f"lost: {lost}"

    # what must be so

    def check(self) -> None:
        """Every byte is explained."""
        for place, folder in self.folders.items():
            _same(read_files(folder), self.files[place], place)
        _same(self.objects.tree(self.books.base_tree), self.base, "base")
        assert self.books.last_tree is not None
        _same(self.objects.tree(self.books.last_tree), self.last, "snapshot")
        self._check_rows()
        self._check_decisions()
        assert self._read_tip() == self._tip

    def _check_rows(self) -> None:
        made = dict(self.base)
        touched: Counter[str] = Counter()
        for row in self.pending():
            before, after = self.objects.sides(row)
            touched.update({side[0] for side in (before, after) if side})
            if before is not None:
                assert self.base[before[0]] == before[1], row
                made.pop(before[0], None)
        for row in self.pending():
            before, after = self.objects.sides(row)
            if after is not None:
                made[after[0]] = after[1]
            if not row.is_binary:
                grown = _line_count(after) - _line_count(before)
                assert row.added_lines - row.deleted_lines == grown, row
        _same(made, self.last, "base and pending changes")
        assert max(touched.values(), default=1) == 1, touched

    def _check_decisions(self) -> None:
        assert all(each.state is not DecisionState.UNDERWAY for each in self.books.decisions)
        queued = {each.id for each in self.queued()}
        assert not queued or self.books.is_turn_running
        shown = {each.decision_id for row in self.pending() for each in row.queued}
        assert shown == queued

    # how a decision moves it

    def _fold(self, decision: Decision, old: Books) -> None:
        rows = [row for row in self.books.changes if row.decision_id == decision.id]
        known = {row.id: row for row in old.changes}
        files = self.files
        match decision.verb:
            case "apply" if decision.by.startswith(COMMITTER):
                self._commit(decision, rows)
            case "apply":
                self._check_parts(decision, rows, known)
                self._carry_out(decision, self.moves(rows, backward=False))
            case "reject":
                if decision.was_queued:
                    self._check_queued(decision, rows, known)
                    files["worktree"] = carry(files["worktree"], self._part_moves(decision))
                else:
                    self._check_parts(decision, rows, known)
                    files["worktree"] = carry(files["worktree"], self.moves(rows, backward=True))
                self.last = dict(files["worktree"])
            case "revert":
                self._carry_out(decision, self._moves_back([known[row.id] for row in rows]))
                if not self.books.is_turn_running:
                    self.last = dict(files["worktree"])
            case "restore":
                checkpoint = next(each for each in self.books.checkpoints if each.id == decision.checkpoint_id)
                files["worktree"] = self.objects.tree(checkpoint.tree)
                self.last = dict(files["worktree"])
            case "update":
                # what comes in moves base, worktree and branch; what was there is a checkpoint
                assert self.books.checkpoints[-1].kind == "update"
                _same(self.objects.tree(self.books.checkpoints[-1].tree), files["worktree"], "before the update")
                self.base = self.objects.tree(self.books.base_tree)
                files["worktree"] = read_files(self.folders["worktree"])
                self.last = dict(files["worktree"])
                self._tip = self._read_tip()

    def _moves_back(self, rows: Sequence[Change]) -> Moves:
        newest = sorted(rows, key=lambda row: row.decision_id or "", reverse=True)
        groups = itertools.groupby(newest, key=lambda row: row.decision_id)
        return chain([self.moves(list(group), backward=True) for _, group in groups])

    def _commit(self, decision: Decision, rows: Sequence[Change]) -> None:
        """On the branch: all that the worktree holds, or what was applied beside what is there."""
        tip, old = self._move_tip()
        if decision.by == COMMITTER + "all":
            moved = carry(self.base, self.moves(rows, backward=False))
            self.base = dict(self.files["worktree"])
            self.last = dict(self.files["worktree"])
            _same(moved, self.base, "what was committed")
            _same(tip, self.base, "branch")
        else:
            assert not rows
            for path in tip.keys() | old.keys() | self.base.keys():
                if old.get(path) == self.base.get(path):
                    assert tip.get(path) == old.get(path), path

    def _carry_out(self, decision: Decision, moves: Moves) -> None:
        self.base = carry(self.base, moves)
        if decision.target == "checkout":
            self.files["checkout"] = carry(self.files["checkout"], moves)
            return
        new, old = self._move_tip()
        if new == old:
            return
        for before, after in moves:
            if before is not None and after is not None and old.get(before[0]) == before[1]:
                assert new.get(after[0]) == after[1]
            elif before is not None and old.get(before[0]) == before[1]:
                assert before[0] not in new

    def _move_tip(self) -> tuple[Tree, Tree]:
        """The files of the branch now and before; it has at most one commit more."""
        tip = self._read_tip()
        _, old = self.objects.commit(self._tip)
        above, new = self.objects.commit(tip)
        assert tip == self._tip or above == [self._tip]
        self._tip = tip
        return new, old

    def _part_moves(self, decision: Decision) -> Moves:
        sides = [self.objects.sides(pick.part) for pick in decision.picks if pick.part is not None]
        return [(after, before) for before, after in sides]

    def _check_parts(self, decision: Decision, rows: Sequence[Change], known: dict[str, Change]) -> None:
        """The rows of a decision are what was picked."""
        decided = {row.split_from or row.id: row for row in rows}
        assert decided.keys() == {pick.change_id for pick in decision.picks}
        for pick in decision.picks:
            row, whole = decided[pick.change_id], known[pick.change_id]
            if row.split_from is None:
                assert row.sides == whole.sides
            elif decision.verb == "apply":
                assert (row.base_blob, row.base_mode) == (whole.base_blob, whole.base_mode)
            else:
                assert (row.new_blob, row.new_mode) == (whole.new_blob, whole.new_mode)

    def _check_queued(self, decision: Decision, rows: Sequence[Change], known: dict[str, Change]) -> None:
        """What was pending until it was carried out is rejected now."""
        sides = [row.sides for row in rows]
        for pick in decision.picks:
            if pick.part is not None and known[pick.change_id].status is ChangeStatus.PENDING:
                assert pick.part.sides in sides, decision

    def _read_tip(self) -> str:
        return self._branch.read_text().strip()

    def _put(self, place: Place, path: str, there: Tree) -> None:
        """A file and a folder of one name cannot be: what the dead host had moved away for it stays away."""
        files = self.files[place]
        files.pop(path, None)
        if path in there:
            files[path] = there[path]
            for other in [other for other in files if path in parents(other) or other in parents(path)]:
                del files[other]

    def _tokens(self, files: Tree) -> set[str]:
        text = b"\n".join(file.content for file in files.values())
        return {token for token in self._mine if token.encode() in text}

    def _recorded_tokens(self) -> set[str]:
        sides = [side for row in self.books.changes for side in self.objects.sides(row) if side]
        trees = [self.objects.tree(each.tree) for each in self.books.checkpoints]
        files: list[File] = [file for _, file in sides] + [file for tree in trees for file in tree.values()]
        return self._tokens({str(number): file for number, file in enumerate(files)})


def _fits(place: Tree, moves: Moves, *, is_disk: bool = True) -> bool:
    try:
        carry(place, moves, is_disk=is_disk)
    except Unfit:
        return False
    return True


def _line_count(side: Side) -> int:
    content = side[1].content if side else b""
    return content.count(b"\n") + (content[-1:] not in (b"", b"\n"))


def _same(found: Tree, wanted: Tree, name: str) -> None:
    """Says which file is otherwise, and how."""
    wrong = {path: (found.get(path), wanted.get(path)) for path in found.keys() | wanted.keys()}
    wrong = {path: pair for path, pair in wrong.items() if pair[0] != pair[1]}
    assert not wrong, f"{name}: found and wanted differ: {wrong}"
