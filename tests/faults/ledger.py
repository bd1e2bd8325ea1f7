"""A person, an agent and a host that dies, and what the files and the books must say after each of their steps."""

import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coder.model.branches import CommitWhat, UpdateHow
from coder.model.changes import Change, ChangeStatus, HunkChoice, Target
from coder.model.decisions import DecisionState, Pick
from coder.testing.mortal_desk import Answer, Books, Died, Nursery, Order, Verb
from coder.testing.repositories import commit_files, git
from tests.faults.account import DECIDED, Account, Place
from tests.faults.edits import START, Edit, edits
from tests.faults.trees import LINK, put_file

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
CONFLICT = ("merge_conflict",)

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
    """Does what people, agents and hosts do, and holds what comes of it against an account of it."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        super().__init__()
        self._nursery = nursery
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self._restarted = self._is_tried = self._committed = self._switched = 0
        self._applies_itself = self._is_behind = False
        self._seen: list[Pick] = []
        """Hunks that somebody has looked at."""

    @initialize()
    def opens(self) -> None:
        """A session on a fresh repository."""
        self._home = self._folder / "home"
        self._repository = self._folder / "repository"
        self._repository.mkdir(parents=True)
        git(self._repository, "init", "--quiet", "--initial-branch=main")
        git(self._repository, "config", "user.name", "Test")
        git(self._repository, "config", "user.email", "test@example.org")
        for path, file in START.items():
            put_file(self._repository, path, file)
        commit_files(self._repository, {}, "Start")
        self._desk = self._nursery.open_desk(self._home)
        books = self._desk.do(Order(verb="open", session_id=str(self._repository))).books
        assert books is not None
        self._account = Account(books, self._repository, self._home)

    # what people and agents do

    @rule(made=st.lists(edits, min_size=1, max_size=3))
    def agent_takes_a_turn(self, made: list[Edit]) -> None:
        """A whole turn, or a few more edits in the one that runs."""
        is_running = self._books.is_turn_running
        if not is_running:
            self.turn_begins()
        for edit in made:
            self._account.edit("worktree", edit, self._account.agent_token())
        if not is_running:
            self._end_turn(None)

    @precondition(lambda self: not self._books.is_turn_running)
    @rule()
    def turn_begins(self) -> None:
        self._account.last = dict(self._account.files["worktree"])
        self._do("begin_turn")

    @precondition(lambda self: self._books.is_turn_running)
    @rule(fate=fates)
    def turn_ends(self, fate: Fate | None) -> None:
        self._end_turn(fate)

    @rule(place=places, edit=edits)
    def person_edits(self, place: Place, edit: Edit) -> None:
        self._account.edit(place, edit, self._account.token())

    @rule(place=places)
    def somebody_commits_by_hand(self, place: Place) -> None:
        """The agent in its worktree on the session's branch, or the person in the checkout on the default branch."""
        folder = self._account.folders[place]
        if git(folder, "status", "--porcelain"):
            commit_files(folder, {}, f"By hand in the {place}")
            self._is_behind |= place == "checkout"
            self._account.follow_branch()

    @precondition(lambda self: self._account.pending())
    @rule(mask=masks, fate=fates)
    def person_applies(self, mask: int, fate: Fate | None) -> None:
        self._decide("apply", mask, None, fate)

    @precondition(lambda self: self._account.pending())
    @rule(mask=masks, cut=cuts, fate=fates)
    def person_applies_parts(self, mask: int, cut: Cut, fate: Fate | None) -> None:
        self._decide("apply", mask, cut, fate)

    @precondition(lambda self: self._account.pending())
    @rule(mask=masks, cut=st.none() | cuts, fate=fates)
    def person_applies_to_the_branch(self, mask: int, cut: Cut | None, fate: Fate | None) -> None:
        self._decide("apply", mask, cut, fate, "branch")

    @precondition(lambda self: self._account.pending())
    @rule(mask=masks, fate=fates)
    def person_rejects(self, mask: int, fate: Fate | None) -> None:
        self._decide("reject", mask, None, fate)

    @precondition(lambda self: self._account.pending())
    @rule(mask=masks, cut=cuts, fate=fates)
    def person_rejects_parts(self, mask: int, cut: Cut, fate: Fate | None) -> None:
        self._decide("reject", mask, cut, fate)

    @precondition(lambda self: self._seen)
    @rule(number=masks, verb=st.sampled_from(("apply", "reject")))
    def person_decides_what_was_seen_before(self, number: int, verb: Verb) -> None:
        """Hunks that are not there any more are refused."""
        pick = self._seen[number % len(self._seen)]
        if pick.hunks is None or pick.change_id not in {row.id for row in self._account.pending()}:
            return
        there = {hunk.id for hunk in self._show(pick.change_id).hunks}
        if not {choice.id for choice in pick.hunks} <= there:
            order = Order(verb=verb, session_id=self._books.session_id, picks=(pick,))
            self._refused(self._do_order(order), ("stale_hunk", "decision_queued", "no_hunks"), self._books)

    @precondition(lambda self: self._account.rows(ChangeStatus.APPLIED))
    @rule(number=masks, mask=st.none() | masks, fate=fates)
    def person_reverts(self, number: int, mask: int | None, fate: Fate | None) -> None:
        """One thing that was applied, or several of those that were applied to the same target."""
        rows = self._account.rows(ChangeStatus.APPLIED)
        row = rows[number % len(rows)]
        chosen = [row] if mask is None else _chosen([each for each in rows if each.target == row.target], mask)
        fits: bool | None = None
        if row.target == "checkout" and len(chosen) == 1:
            fits = self._account.fits("checkout", self._account.moves(chosen, backward=True))
        self._order("revert", fate, fits=fits, picks=tuple(Pick(change_id=each.id) for each in chosen))

    @precondition(lambda self: not self._books.is_turn_running)
    @rule(number=masks, fate=fates)
    def person_restores(self, number: int, fate: Fate | None) -> None:
        wanted = [(each, self._account.objects.tree(each.tree)) for each in self._books.checkpoints]
        wanted = [(each, files) for each, files in wanted if files != self._account.files["worktree"]]
        if wanted:
            chosen, _ = wanted[number % len(wanted)]
            self._order("restore", fate, fits=True, id=chosen.id)

    @precondition(lambda self: self._committed < len(self._books.decisions) or self._account.pending())
    @rule(what=st.sampled_from(("applied", "all")), fate=fates)
    def person_commits(self, what: CommitWhat, fate: Fate | None) -> None:
        """What was applied, or all that the worktree holds."""
        self._committed = len(self._books.decisions) + 1
        codes = {"nothing_to_commit", "merge_conflict" if what == "applied" else "turn_running"}
        self._order("commit", fate, fits=None, codes=codes, what=what)

    @precondition(lambda self: self._is_behind and not self._books.is_turn_running)
    @rule(how=st.sampled_from(("merge", "rebase")), fate=fates)
    def person_brings_the_default_branch_in(self, how: UpdateHow, fate: Fate | None) -> None:
        self._is_behind = False
        self._order("update", fate, fits=None, how=how)

    @precondition(lambda self: self._switched < len(self._books.decisions))
    @rule()
    def person_lets_changes_apply_by_themselves(self) -> None:
        """Or not any more."""
        self._switched = len(self._books.decisions) + 2
        self._applies_itself = not self._applies_itself

    @precondition(lambda self: self._account.queued())
    @rule(number=masks)
    def person_withdraws(self, number: int) -> None:
        queued, before = self._account.queued(), self._books
        chosen = queued[number % len(queued)]
        assert self._do("withdraw", id=chosen.id).code is None
        states = {each.id: each.state for each in self._books.decisions}
        assert states == {each.id: each.state for each in before.decisions} | {chosen.id: DecisionState.WITHDRAWN}

    @precondition(lambda self: self._is_tried < len(self._books.decisions))
    @rule(number=masks, wants_apply=st.booleans())
    def person_is_late(self, number: int, wants_apply: bool) -> None:
        """What is decided already, or cannot be now, is refused."""
        self._is_tried = len(self._books.decisions)
        for row in self._account.rows(*DECIDED)[number:][:1]:
            is_applied = row.status is ChangeStatus.APPLIED
            verb: Verb = "apply" if wants_apply else "reject" if is_applied else "revert"
            order = Order(verb=verb, session_id=self._books.session_id, picks=(Pick(change_id=row.id),))
            self._refused(self._do_order(order), ("wrong_state",))
        for checkpoint in self._books.checkpoints:
            order = Order(verb="restore", session_id=self._books.session_id, id=checkpoint.id)
            if self._books.is_turn_running:
                self._refused(self._do_order(order), ("turn_running",))
            elif self._account.objects.tree(checkpoint.tree) == self._account.files["worktree"]:
                self._refused(self._do_order(order), ("nothing_to_restore",))

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

    @invariant()
    def every_byte_is_explained(self) -> None:
        self._account.check()

    def teardown(self) -> None:
        with suppress(Died):
            self._desk.do(Order(verb="close", session_id=self._books.session_id))
        self._desk.close()

    # how it is done

    @property
    def _books(self) -> Books:
        return self._account.books

    def _do(self, verb: Verb, **fields: str) -> Answer:
        return self._do_order(Order.model_validate({"verb": verb, "session_id": self._books.session_id, **fields}))

    def _do_order(self, order: Order) -> Answer:
        answer = self._desk.do(order)
        if answer.books is not None:
            self._account.learn(answer.books)
        return answer

    def _show(self, id: str) -> Answer:
        return self._desk.do(Order(verb="show", session_id=self._books.session_id, id=id))

    def _decide(self, verb: Verb, mask: int, cut: Cut | None, fate: Fate | None, target: Target = "checkout") -> None:
        rows = _chosen(self._account.pending(), mask)
        if not rows:
            return
        picks = tuple(self._pick(row, cut) for row in rows)
        if _overlaps(rows, picks):
            order = Order(verb=verb, session_id=self._books.session_id, picks=picks, target=target)
            self._refused(self._do_order(order), ("decision_queued",))
            return
        fits: bool | None = None
        if verb == "reject" and self._books.is_turn_running:
            fits, fate = True, None
        elif target == "checkout" and all(pick.hunks is None for pick in picks):
            is_reject = verb == "reject"
            moves = self._account.moves(rows, backward=is_reject)
            fits = self._account.fits("worktree" if is_reject else "checkout", moves)
        self._order(verb, fate, fits=fits, picks=picks, target=target)

    def _pick(self, row: Change, cut: Cut | None) -> Pick:
        hunks = self._show(row.id).hunks if cut else ()
        if cut is None or not hunks or LINK in (row.base_mode, row.new_mode):
            return Pick(change_id=row.id)
        choices: list[HunkChoice] = []
        for hunk in _chosen(hunks, cut.hunks):
            changed = [number for number, line in enumerate(hunk.lines) if line[0] in "+-"]
            lines = tuple(_chosen(changed, cut.lines)) if cut.lines else None
            choices.append(HunkChoice(id=hunk.id, lines=lines))
        pick = Pick(change_id=row.id, hunks=tuple(choices))
        self._seen.append(pick)
        return pick

    def _order(
        self, verb: Verb, fate: Fate | None, *, fits: bool | None, codes: Collection[str] = CONFLICT, **fields: object
    ) -> None:
        """`codes` are those that it may be refused with where it is not known to fit."""
        before = self._books
        failpoints = fate.failpoints if fate else ()
        order = Order.model_validate(
            {"verb": verb, "session_id": before.session_id, "failpoints": failpoints, **fields}
        )
        try:
            answer = self._do_order(order)
        except Died:
            assert fate is not None
            self._survive(fate)
            is_done = DecisionState.DONE in self._new_states(before)
            assert is_done == (fate.failpoint == "decision.committed")
            return
        if answer.code is not None:
            assert fits is not True, answer
            self._refused(answer, codes, before)
            return
        assert fits is not False, "this should have been refused"
        if verb == "update" and self._books == before:
            return
        is_queued = verb == "reject" and before.is_turn_running
        assert self._new_states(before) == [DecisionState.QUEUED if is_queued else DecisionState.DONE]

    def _refused(self, answer: Answer, codes: Collection[str], before: Books | None = None) -> None:
        assert answer.code in codes, answer
        if before is not None:
            assert set(self._new_states(before)) <= {DecisionState.REFUSED}
            assert self._books.model_copy(update={"decisions": before.decisions}) == before

    def _new_states(self, before: Books) -> list[DecisionState]:
        known = {each.id for each in before.decisions}
        return [each.state for each in self._books.decisions if each.id not in known]

    def _end_turn(self, fate: Fate | None) -> None:
        failpoints = fate.failpoints if fate else ()
        try:
            answer = self._desk.do(Order(verb="end_turn", session_id=self._books.session_id, failpoints=failpoints))
            assert answer.books is not None
            self._account.settle(answer.books)
            if self._applies_itself:
                self._apply_itself(failpoints)
        except Died:
            assert fate is not None
            self._survive(fate)

    def _apply_itself(self, failpoints: tuple[str, ...]) -> None:
        rows = self._account.pending()
        fits = self._account.fits("checkout", self._account.moves(rows, backward=False))
        order = Order(verb="auto_apply", session_id=self._books.session_id, failpoints=failpoints)
        assert self._do_order(order).code is None
        assert not fits or not self._account.pending()

    def _survive(self, fate: Fate) -> None:
        """The host died: files may be half-written until the next one has settled that."""
        self._look_again()
        if fate.edit is not None:
            self._account.edit_among_ruins(*fate.edit)
        self._boot(fate.again)

    def _look_again(self) -> None:
        """A fresh desk, and what is in the books before it does anything."""
        self._desk = self._nursery.open_desk(self._home)
        self._do("look")

    def _boot(self, failpoint: str | None) -> None:
        books = self._books
        is_open = any(each.state in (DecisionState.QUEUED, DecisionState.UNDERWAY) for each in books.decisions)
        if failpoint is not None:
            try:
                self._desk.do(Order(verb="boot", session_id=books.session_id, failpoints=(failpoint,)))
            except Died:
                self._desk = self._nursery.open_desk(self._home)
        answer = self._desk.do(Order(verb="boot", session_id=books.session_id))
        assert answer.books is not None
        if books.is_turn_running or is_open:
            self._account.settle(answer.books)
        else:
            self._account.learn(answer.books)


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
