"""A person, an agent and a host that dies, and what the files and the books must say after each of their steps."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coder.model.changes import Change, ChangeStatus, HunkChoice, Target
from coder.model.decisions import Decision, DecisionState, Pick
from coder.testing.mortal_desk import Answer, Books, Died, Nursery, Order, Verb
from coder.testing.repositories import commit_files, git
from tests.faults.edits import START, Edit, edits
from tests.faults.trees import LINK, Objects, Side, Tree, Unfit, carry, parents, put_file, read_files

FAILPOINTS = (
    "decision.underway",
    "write.prepared",
    "write.removed",
    "write.moved",
    "branch.staged",
    "decision.written",
    "decision.recorded",
    "decision.committed",
)
DECIDED = (ChangeStatus.APPLIED, ChangeStatus.REJECTED, ChangeStatus.REVERTED, ChangeStatus.SUPERSEDED)

Place = Literal["checkout", "worktree"]
Moves = Sequence[tuple[Side, Side]]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Fate:
    """The host dies the `count`th time that it comes to a failpoint; somebody may edit a file before the next one is
    there, which may die in its turn."""

    failpoint: str
    count: int
    edit: tuple[Place, Edit] | None
    again: str | None

    @property
    def failpoints(self) -> tuple[str, ...]:
        return (self.failpoint,) * self.count


@dataclass(frozen=True)
class Cut:
    """Which hunks of a change are meant and which of their changed lines: bits, modulo what is there; 0 means all."""

    hunks: int
    lines: int


places = st.sampled_from(("checkout", "worktree"))
fates = st.none() | st.builds(
    Fate,
    failpoint=st.sampled_from(FAILPOINTS),
    count=st.integers(1, 3),
    edit=st.none() | st.tuples(places, edits),
    again=st.none() | st.sampled_from(FAILPOINTS),
)
cuts = st.builds(Cut, hunks=st.integers(0, 7), lines=st.integers(0, 15))
masks = st.integers(0, 31)


class Ledger(RuleBasedStateMachine):
    """The model: four dictionaries of files, moved by nothing but edits and what the books say was decided."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        super().__init__()
        self._nursery = nursery
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self._numbers = itertools.count(1)
        self._mine: set[str] = set()
        self._restarted = self._is_tried = 0

    @initialize()
    def opens(self) -> None:
        """A session on a fresh repository."""
        self._home = self._folder / "home"
        repository = self._folder / "repository"
        repository.mkdir(parents=True)
        git(repository, "init", "--quiet", "--initial-branch=main")
        git(repository, "config", "user.name", "Test")
        git(repository, "config", "user.email", "test@example.org")
        for path, file in START.items():
            put_file(repository, path, file)
        commit_files(repository, {}, "Start")
        self._desk = self._nursery.open_desk(self._home)
        books = self._desk.do(Order(verb="open", session_id=str(repository))).books
        assert books is not None
        self._books: Books = books
        id = books.session_id
        self._objects = Objects(self._home / "shadows" / f"{id}.git/objects", repository / ".git/objects")
        self._folders: dict[Place, Path] = {
            "checkout": repository,
            "worktree": self._home / "worktrees" / id[-10:],
        }
        self._files: dict[Place, Tree] = {"checkout": dict(START), "worktree": dict(START)}
        self._base, self._last = dict(START), dict(START)
        self._branch = repository / ".git/refs/heads/coder" / id[-10:]
        self._tip = self._read_tip()

    # what people and agents do

    @rule(made=st.lists(edits, min_size=1, max_size=3))
    def agent_takes_a_turn(self, made: list[Edit]) -> None:
        """A whole turn, or a few more edits in the one that runs."""
        is_running = self._books.is_turn_running
        if not is_running:
            self.turn_begins()
        for edit in made:
            self._edit("worktree", edit, f"agent{next(self._numbers)}")
        if not is_running:
            self._end_turn(None)

    @precondition(lambda self: not self._books.is_turn_running)
    @rule()
    def turn_begins(self) -> None:
        self._last = dict(self._files["worktree"])
        self._do("begin_turn")

    @precondition(lambda self: self._books.is_turn_running)
    @rule(fate=fates)
    def turn_ends(self, fate: Fate | None) -> None:
        self._end_turn(fate)

    @rule(place=places, edit=edits)
    def person_edits(self, place: Place, edit: Edit) -> None:
        self._edit(place, edit, self._token())

    @precondition(lambda self: self._pending())
    @rule(mask=masks, fate=fates)
    def person_applies(self, mask: int, fate: Fate | None) -> None:
        self._decide("apply", mask, None, fate)

    @precondition(lambda self: self._pending())
    @rule(mask=masks, cut=cuts, fate=fates)
    def person_applies_parts(self, mask: int, cut: Cut, fate: Fate | None) -> None:
        self._decide("apply", mask, cut, fate)

    @precondition(lambda self: self._pending())
    @rule(mask=masks, cut=st.none() | cuts, fate=fates)
    def person_commits(self, mask: int, cut: Cut | None, fate: Fate | None) -> None:
        """Applies to the session's branch."""
        self._decide("apply", mask, cut, fate, "branch")

    @precondition(lambda self: self._pending())
    @rule(mask=masks, fate=fates)
    def person_rejects(self, mask: int, fate: Fate | None) -> None:
        self._decide("reject", mask, None, fate)

    @precondition(lambda self: self._pending())
    @rule(mask=masks, cut=cuts, fate=fates)
    def person_rejects_parts(self, mask: int, cut: Cut, fate: Fate | None) -> None:
        self._decide("reject", mask, cut, fate)

    @precondition(lambda self: self._rows(ChangeStatus.APPLIED))
    @rule(number=masks, fate=fates)
    def person_reverts(self, number: int, fate: Fate | None) -> None:
        rows = self._rows(ChangeStatus.APPLIED)
        row = rows[number % len(rows)]
        moves = self._moves([row], backward=True)
        fits = _fits(self._files["checkout"], moves) and _fits(self._base, moves, is_disk=False)
        fits = None if row.target == "branch" else fits
        self._order(Order(verb="revert", session_id=self._id, id=row.id), fate, fits=fits)

    @precondition(lambda self: not self._books.is_turn_running)
    @rule(number=masks, fate=fates)
    def person_restores(self, number: int, fate: Fate | None) -> None:
        wanted = [(each, self._objects.tree(each.tree)) for each in self._books.checkpoints]
        wanted = [(each, files) for each, files in wanted if files != self._files["worktree"]]
        if wanted:
            chosen, _ = wanted[number % len(wanted)]
            self._order(Order(verb="restore", session_id=self._id, id=chosen.id), fate, fits=True)

    @precondition(lambda self: self._queued())
    @rule(number=masks)
    def person_withdraws(self, number: int) -> None:
        queued, before = self._queued(), self._books
        chosen = queued[number % len(queued)]
        assert self._do("withdraw", id=chosen.id).code is None
        states = {each.id: each.state for each in self._books.decisions}
        assert states == {each.id: each.state for each in before.decisions} | {chosen.id: DecisionState.WITHDRAWN}

    @precondition(lambda self: self._is_tried < len(self._books.decisions))
    @rule(number=masks, wants_apply=st.booleans())
    def person_is_late(self, number: int, wants_apply: bool) -> None:
        """What is decided already, or cannot be now, is refused."""
        self._is_tried = len(self._books.decisions)
        for row in self._rows(*DECIDED)[number:][:1]:
            is_applied = row.status is ChangeStatus.APPLIED
            verb: Verb = "apply" if wants_apply else "reject" if is_applied else "revert"
            order = Order(verb=verb, session_id=self._id, id=row.id, picks=(Pick(change_id=row.id),))
            self._refused(self._do_order(order), "wrong_state")
        for checkpoint in self._books.checkpoints:
            order = Order(verb="restore", session_id=self._id, id=checkpoint.id)
            if self._books.is_turn_running:
                self._refused(self._do_order(order), "turn_running")
            elif self._objects.tree(checkpoint.tree) == self._files["worktree"]:
                self._refused(self._do_order(order), "nothing_to_restore")

    @precondition(lambda self: self._restarted < len(self._books.decisions))
    @rule()
    def host_restarts(self) -> None:
        """Without anything half-done a restart changes nothing."""
        before = self._books
        self._restarted = len(before.decisions)
        self._desk.close()
        self._look_again()
        self._boot(None)
        if not before.is_turn_running:
            assert self._books == before

    # what must be so

    @invariant()
    def every_byte_is_explained(self) -> None:
        self._check_files()
        self._check_trees()
        self._check_rows()
        self._check_decisions()
        assert self._read_tip() == self._tip

    def _check_files(self) -> None:
        for place, folder in self._folders.items():
            _same(read_files(folder), self._files[place], place)

    def _check_trees(self) -> None:
        _same(self._objects.tree(self._books.base_tree), self._base, "base")
        assert self._books.last_tree is not None
        _same(self._objects.tree(self._books.last_tree), self._last, "snapshot")

    def _check_rows(self) -> None:
        made = dict(self._base)
        touched: Counter[str] = Counter()
        for row in self._pending():
            before, after = self._objects.sides(row)
            touched.update({side[0] for side in (before, after) if side})
            if before is not None:
                assert self._base[before[0]] == before[1], row
                made.pop(before[0], None)
        for row in self._pending():
            before, after = self._objects.sides(row)
            if after is not None:
                made[after[0]] = after[1]
            if not row.is_binary:
                grown = _line_count(after) - _line_count(before)
                assert row.added_lines - row.deleted_lines == grown, row
        _same(made, self._last, "base and pending changes")
        assert max(touched.values(), default=1) == 1, touched

    def _check_decisions(self) -> None:
        assert all(each.state is not DecisionState.UNDERWAY for each in self._books.decisions)
        queued = {each.id for each in self._queued()}
        assert not queued or self._books.is_turn_running
        shown = {each.decision_id for row in self._pending() for each in row.queued}
        assert shown == queued

    def teardown(self) -> None:
        with suppress(Died):
            self._desk.do(Order(verb="close", session_id=self._id))
        self._desk.close()

    # how it is done

    @property
    def _id(self) -> str:
        return self._books.session_id

    def _read_tip(self) -> str:
        return self._branch.read_text().strip()

    def _rows(self, *statuses: ChangeStatus) -> list[Change]:
        rows = [row for row in self._books.changes if row.status in statuses]
        return sorted(rows, key=lambda row: (row.decided_at or row.created_at, row.file_path))

    def _pending(self) -> list[Change]:
        return sorted(self._rows(ChangeStatus.PENDING), key=lambda row: row.file_path)

    def _queued(self) -> list[Decision]:
        return [each for each in self._books.decisions if each.state is DecisionState.QUEUED]

    def _token(self) -> str:
        token = f"mine{next(self._numbers)}"
        self._mine.add(token)
        return token

    def _moves(self, rows: Sequence[Change], *, backward: bool) -> Moves:
        sides = [self._objects.sides(row) for row in rows]
        return [(after, before) for before, after in sides] if backward else sides

    def _do(self, verb: Verb, **fields: str) -> Answer:
        return self._do_order(Order.model_validate({"verb": verb, "session_id": self._id, **fields}))

    def _do_order(self, order: Order) -> Answer:
        answer = self._desk.do(order)
        if answer.books is not None:
            self._learn(answer.books)
        return answer

    def _edit(self, place: Place, edit: Edit, token: str) -> None:
        edit.make(self._folders[place], token)
        self._files[place] = read_files(self._folders[place])

    def _decide(self, verb: Verb, mask: int, cut: Cut | None, fate: Fate | None, target: Target = "checkout") -> None:
        rows = _chosen(self._pending(), mask)
        if not rows:
            return
        picks = [self._pick(row, cut) for row in rows]
        order = Order(verb=verb, session_id=self._id, picks=tuple(picks), target=target)
        if _overlaps(rows, picks):
            self._refused(self._do_order(order), "decision_queued")
            return
        whole = all(pick.hunks is None for pick in picks)
        moves = self._moves(rows, backward=verb == "reject")
        fits: bool | None = None
        if verb == "reject" and self._books.is_turn_running:
            fits, fate = True, None
        elif whole and target == "checkout":
            fits = _fits(self._files["worktree" if verb == "reject" else "checkout"], moves)
            fits = fits and (verb == "reject" or _fits(self._base, moves, is_disk=False))
        self._order(order, fate, fits=fits)

    def _pick(self, row: Change, cut: Cut | None) -> Pick:
        hunks = self._desk.do(Order(verb="show", session_id=self._id, id=row.id)).hunks if cut else ()
        if cut is None or not hunks or LINK in (row.base_mode, row.new_mode):
            return Pick(change_id=row.id)
        choices: list[HunkChoice] = []
        for hunk in _chosen(hunks, cut.hunks):
            changed = [number for number, line in enumerate(hunk.lines) if line[0] in "+-"]
            lines = tuple(_chosen(changed, cut.lines)) if cut.lines else None
            choices.append(HunkChoice(id=hunk.id, lines=lines))
        return Pick(change_id=row.id, hunks=tuple(choices))

    def _order(self, order: Order, fate: Fate | None, *, fits: bool | None) -> None:
        before = self._books
        if fate is not None:
            order = order.model_copy(update={"failpoints": fate.failpoints})
        try:
            answer = self._do_order(order)
        except Died:
            assert fate is not None
            self._survive(fate)
            is_done = DecisionState.DONE in self._new_states(before)
            assert is_done == (fate.failpoint == "decision.committed")
            return
        if answer.code is None:
            assert fits is not False, "this should have been refused"
            is_queued = order.verb == "reject" and before.is_turn_running
            assert self._new_states(before) == [DecisionState.QUEUED if is_queued else DecisionState.DONE]
        else:
            assert fits is not True, answer
            self._refused(answer, "merge_conflict", before)

    def _refused(self, answer: Answer, code: str, before: Books | None = None) -> None:
        assert answer.code == code, answer
        if before is not None:
            assert set(self._new_states(before)) <= {DecisionState.REFUSED}
            assert self._books.model_copy(update={"decisions": before.decisions}) == before

    def _new_states(self, before: Books) -> list[DecisionState]:
        known = {each.id for each in before.decisions}
        return [each.state for each in self._books.decisions if each.id not in known]

    def _end_turn(self, fate: Fate | None) -> None:
        order = Order(verb="end_turn", session_id=self._id, failpoints=fate.failpoints if fate else ())
        try:
            answer = self._desk.do(order)
        except Died:
            assert fate is not None
            self._survive(fate)
            return
        assert answer.books is not None
        self._settle(answer.books)

    def _survive(self, fate: Fate) -> None:
        """The host died: files may be half-written until the next one has settled that."""
        self._look_again()
        if fate.edit is not None:
            place, edit = fate.edit
            before = read_files(self._folders[place])
            edit.make(self._folders[place], self._token())
            after = read_files(self._folders[place])
            for path in before.keys() | after.keys():
                if before.get(path) != after.get(path):
                    self._put(place, path, after)
        self._boot(fate.again)

    def _put(self, place: Place, path: str, there: Tree) -> None:
        """A file and a folder of one name cannot be: what the dead host had moved away for it stays away."""
        files = self._files[place]
        files.pop(path, None)
        if path in there:
            files[path] = there[path]
            for other in [other for other in files if path in parents(other) or other in parents(path)]:
                del files[other]

    def _look_again(self) -> None:
        """A fresh desk, and what is in the books before it does anything."""
        self._desk = self._nursery.open_desk(self._home)
        self._do("look")

    def _boot(self, failpoint: str | None) -> None:
        books = self._books
        is_open = any(each.state in (DecisionState.QUEUED, DecisionState.UNDERWAY) for each in books.decisions)
        if failpoint is not None:
            try:
                self._desk.do(Order(verb="boot", session_id=self._id, failpoints=(failpoint,)))
            except Died:
                self._desk = self._nursery.open_desk(self._home)
        answer = self._desk.do(Order(verb="boot", session_id=self._id))
        assert answer.books is not None
        if books.is_turn_running or is_open:
            self._settle(answer.books)
        else:
            self._learn(answer.books)

    def _settle(self, books: Books) -> None:
        """Everything that waited is carried out, and the worktree is as the newest snapshot has it."""
        self._learn(books)
        self._last = dict(self._files["worktree"])

    def _learn(self, books: Books) -> None:
        """Move the model by what was decided since."""
        old, self._books = self._books, books
        before = {each.id: each.state for each in old.decisions}
        held = {place: self._tokens(files) for place, files in self._files.items()}
        for decision in books.decisions:
            if decision.state is before.get(decision.id):
                continue
            if decision.state is DecisionState.DONE:
                self._fold(decision, old)
            elif decision.state is DecisionState.REFUSED and before.get(decision.id) is DecisionState.QUEUED:
                moves = self._part_moves(decision)
                assert not _fits(self._files["worktree"], moves), decision
        rows = {row.id: row for row in books.changes}
        for row in old.changes:
            if row.status in DECIDED:
                now = rows[row.id]
                assert now.sides == row.sides
                assert now.status in (row.status, ChangeStatus.REVERTED)
        lost = {token for place, files in self._files.items() for token in held[place] - self._tokens(files)}
        assert lost <= self._recorded_tokens(), f"lost: {lost}"

    def _fold(self, decision: Decision, old: Books) -> None:
        rows = [row for row in self._books.changes if row.decision_id == decision.id]
        known = {row.id: row for row in old.changes}
        files = self._files
        match decision.verb:
            case "apply":
                self._check_parts(decision, rows, known)
                self._carry_out(decision, self._moves(rows, backward=False))
            case "reject":
                if decision.was_queued:
                    self._check_queued(decision, rows, known)
                    files["worktree"] = carry(files["worktree"], self._part_moves(decision))
                else:
                    self._check_parts(decision, rows, known)
                    files["worktree"] = carry(files["worktree"], self._moves(rows, backward=True))
                self._last = dict(files["worktree"])
            case "revert":
                self._carry_out(decision, self._moves(rows, backward=True))
                if not self._books.is_turn_running:
                    self._last = dict(files["worktree"])
            case "restore":
                checkpoint = next(each for each in self._books.checkpoints if each.id == decision.checkpoint_id)
                files["worktree"] = self._objects.tree(checkpoint.tree)
                self._last = dict(files["worktree"])
            case "update":
                raise AssertionError(decision)

    def _carry_out(self, decision: Decision, moves: Moves) -> None:
        self._base = carry(self._base, moves)
        if decision.target == "checkout":
            self._files["checkout"] = carry(self._files["checkout"], moves)
            return
        tip = self._read_tip()
        if tip == self._tip:
            return
        _, old = self._objects.commit(self._tip)
        above, new = self._objects.commit(tip)
        assert above == [self._tip]
        for before, after in moves:
            if before is not None and after is not None and old.get(before[0]) == before[1]:
                assert new.get(after[0]) == after[1]
            elif before is not None and old.get(before[0]) == before[1]:
                assert before[0] not in new
        self._tip = tip

    def _part_moves(self, decision: Decision) -> Moves:
        sides = [self._objects.sides(pick.part) for pick in decision.picks if pick.part is not None]
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

    def _tokens(self, files: Tree) -> set[str]:
        text = b"\n".join(file.content for file in files.values())
        return {token for token in self._mine if token.encode() in text}

    def _recorded_tokens(self) -> set[str]:
        sides = [side for row in self._books.changes for side in self._objects.sides(row) if side]
        trees = [self._objects.tree(each.tree) for each in self._books.checkpoints]
        files = [file for _, file in sides] + [file for tree in trees for file in tree.values()]
        return self._tokens({str(number): file for number, file in enumerate(files)})


def _chosen(items: Sequence[Item], mask: int) -> list[Item]:
    """Those whose bit is set; all where none is."""
    return [item for number, item in enumerate(items) if mask >> number & 1] or list(items)


def _overlaps(rows: Sequence[Change], picks: Sequence[Pick]) -> bool:
    """Whether some of it is rejected at the end of the turn already."""
    for row, pick in zip(rows, picks, strict=True):
        for queued in row.queued:
            if pick.hunks is None or queued.hunks is None:
                return True
            if {each.id for each in pick.hunks} & {each.id for each in queued.hunks}:
                return True
    return False


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
