"""Projects, sessions, worktrees, agent sessions, changes, permission requests, the probe cache, idempotency keys."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from coder.errors import Conflict, IdempotencyMismatch, NotFound, WrongState
from coder.model.changes import ChangeStatus
from coder.model.permissions import PermissionStatus
from coder.model.providers import AvailableAgent, Model, ProbeResult
from coder.model.sessions import SESSION_TRANSITIONS, AgentSessionStatus, SessionState, Worktree
from coder.model.values import now
from coder.store import (
    agent_sessions,
    available_agents,
    changes,
    idempotency,
    permissions,
    projects,
    session_worktrees,
    sessions,
)
from tests.postgres.samples import (
    a_change,
    a_project,
    a_request,
    an_agent_session,
    claim,
    connected_store,
    open_session,
    queue,
)


async def test_a_repository_is_registered_once_and_kept_while_sessions_use_it(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        project = await projects.insert(c, a_project())
        with pytest.raises(Conflict) as caught:
            await projects.insert(c, a_project())
        assert caught.value.stable_code == "project_exists"
        assert caught.value.fields["project_id"] == project.id
        assert await projects.find_by_path(c, project.repo_path) == project
        assert (await projects.rename(c, project.id, "renamed")).name == "renamed"
        session = await open_session(c, project)
        with pytest.raises(Conflict) as caught:
            await projects.delete(c, project.id)
        assert caught.value.stable_code == "project_in_use"
        await sessions.delete(c, session.id)
        await projects.delete(c, project.id)
        with pytest.raises(NotFound):
            await projects.delete(c, project.id)


@pytest.mark.scenario("store: A change of state names the state it leaves")
async def test_a_state_that_was_left_in_between_is_told_apart_from_a_row_that_is_not_there(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        with pytest.raises(WrongState) as caught:
            await sessions.move(c, session.id, {SessionState.OPENING}, SessionState.OPEN)
        assert caught.value.fields["state"] == "open"
        with pytest.raises(NotFound):
            await sessions.move(c, "nothing", {SessionState.OPENING}, SessionState.OPEN)


@pytest.mark.scenario("store: A move that the state machine does not have is refused")
async def test_a_session_is_moved_along_its_transitions_only(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        for source, targets in SESSION_TRANSITIONS.items():
            for illegal in set(SessionState) - targets - {source}:
                with pytest.raises(WrongState):
                    await sessions.move(c, session.id, {SessionState.OPEN, source}, illegal)
        assert (await sessions.get(c, session.id)).state is SessionState.OPEN
        for _ in range(2):
            both = {SessionState.OPEN, SessionState.CLOSING}
            assert (await sessions.move(c, session.id, both, SessionState.CLOSING)).state is SessionState.CLOSING
        assert (
            await sessions.move(c, session.id, {SessionState.CLOSING}, SessionState.OPEN)
        ).state is SessionState.OPEN


async def test_a_session_shows_its_worktree(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        assert session.worktree_path is None
        worktree = Worktree(
            session_id=session.id,
            worktree_path=Path("/w/1"),
            branch="coder/1",
            base_commit="c" * 40,
            base_tree="t" * 40,
        )
        assert await session_worktrees.insert(c, worktree) == worktree
        shown = await sessions.get(c, session.id)
        assert (shown.worktree_path, shown.branch, shown.base_commit) == ("/w/1", "coder/1", "c" * 40)
        assert (await sessions.list_page(c, project_id=session.project_id)).items == (shown,)
        assert await sessions.all_sessions(c) == (shown,)
        assert (await sessions.patch(c, session.id, name="named", auto_apply=None)).name == "named"
        moved = await session_worktrees.move_trees(c, session.id, expected="t" * 40, base="u" * 40, committed=None)
        assert moved.base_tree == "u" * 40
        with pytest.raises(WrongState):
            await session_worktrees.move_trees(c, session.id, expected="t" * 40, base="v" * 40, committed=None)
        assert await session_worktrees.all_worktrees(c) == (moved,)


async def test_an_agent_session_follows_its_transitions(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        assert await agent_sessions.find(c, session.id, "demo") is None
        await agent_sessions.upsert(c, an_agent_session(session))
        active = await agent_sessions.set_status(c, session.id, "demo", AgentSessionStatus.ACTIVE)
        assert active.server_port == 4096
        crashed = await agent_sessions.set_status(c, session.id, "demo", AgentSessionStatus.CRASHED)
        assert crashed.server_port is None
        assert crashed.agent_session_id == "theirs"
        with pytest.raises(WrongState):
            await agent_sessions.set_status(c, session.id, "demo", AgentSessionStatus.ACTIVE)
        with pytest.raises(NotFound):
            await agent_sessions.set_status(c, session.id, "other", AgentSessionStatus.ACTIVE)
        assert await agent_sessions.list_by_session(c, session.id) == (crashed,)


@pytest.mark.scenario("store: After a crash no agent is on record as alive")
async def test_after_a_crash_active_agents_have_crashed_and_idle_ones_are_closed(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        for status in AgentSessionStatus:
            await agent_sessions.upsert(c, an_agent_session(await open_session(c), status))
        moved = await agent_sessions.reset_after_crash(c)
        assert sorted(row.status for row in moved) == [AgentSessionStatus.CLOSED, AgentSessionStatus.CRASHED]
        assert await agent_sessions.reset_after_crash(c) == ()


@pytest.mark.scenario("store: One pending change per file")
async def test_a_file_has_one_pending_change_and_each_is_decided_once(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        old, other = a_change(session, "a.txt"), a_change(session, "b.txt")
        await changes.insert_many(c, [old, other])
        assert await changes.pending(c, session.id) == (old, other)
        with pytest.raises(asyncpg.UniqueViolationError):
            await changes.insert_many(c, [a_change(session, "a.txt")])
        [closed] = await changes.supersede(c, session.id, ["a.txt", "c.txt"])
        assert (closed.id, closed.status) == (old.id, ChangeStatus.SUPERSEDED)
        new = a_change(session, "a.txt")
        await changes.insert_many(c, [new])
        pending, applied = ChangeStatus.PENDING, ChangeStatus.APPLIED
        decided = await changes.decide(c, new.id, pending, applied, by="me", reason="good")
        assert (decided.status, decided.decided_by, decided.reason) == (applied, "me", "good")
        assert decided.decided_at is not None
        with pytest.raises(WrongState):
            await changes.decide(c, new.id, pending, ChangeStatus.REJECTED)
        with pytest.raises(WrongState):
            await changes.decide(c, other.id, pending, ChangeStatus.REVERTED)
        assert (await changes.decide(c, new.id, applied, ChangeStatus.REVERTED)).status is ChangeStatus.REVERTED
        assert [change.id for change in (await changes.list_page(c, session.id, status=pending)).items] == [other.id]
        assert len((await changes.list_page(c, session.id)).items) == 3


@pytest.mark.scenario("store: A permission request is answered once")
async def test_a_permission_request_is_answered_once(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        request = await permissions.insert(c, a_request(session))
        assert await permissions.get(c, request.id) == request
        answered = await permissions.decide(c, request.id, PermissionStatus.SELECTED, option_id="yes", by="me")
        assert (answered.option_id, answered.decided_by) == ("yes", "me")
        with pytest.raises(WrongState):
            await permissions.decide(c, request.id, PermissionStatus.SELECTED, option_id="no")
        with pytest.raises(NotFound):
            await permissions.decide(c, "nothing", PermissionStatus.EXPIRED)


async def test_open_requests_end_with_their_task_or_with_the_host(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        await queue(c, session, "work")
        mine = await permissions.insert(c, a_request(session, await claim(c)))
        other = await permissions.insert(c, a_request(session))
        assert mine.task_id is not None
        assert [request.id for request in await permissions.cancel_open(c, mine.task_id)] == [mine.id]
        page = await permissions.list_page(c, session_id=session.id, status=PermissionStatus.PENDING)
        assert [request.id for request in page.items] == [other.id]
        assert [request.id for request in await permissions.cancel_all_open(c)] == [other.id]


async def test_what_a_probe_found_is_kept(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        found = AvailableAgent(
            id="demo",
            install_path="/bin/demo",
            version="1",
            probe=ProbeResult(models=(Model(id="m", label="M"),), signed_in=True),
            probed_at=now(),
        )
        assert await available_agents.upsert(c, found) == found
        bare = AvailableAgent(id="demo", install_path=None, version=None, probe=None, probed_at=None)
        await available_agents.upsert(c, bare)
        assert await available_agents.all_agents(c) == (bare,)
        await available_agents.delete(c, "demo")
        assert await available_agents.all_agents(c) == ()


@pytest.mark.scenario("store: The same command gets the same answer")
async def test_a_key_is_taken_once_and_answers_the_same_again(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        reserve: Callable[[str], Awaitable[idempotency.StoredAnswer | None]] = lambda body: idempotency.reserve(  # noqa: E731
            c, "POST /x", "key", body, "run"
        )
        assert await reserve("body") is None
        with pytest.raises(Conflict) as caught:
            await reserve("body")
        assert caught.value.stable_code == "in_progress"
        with pytest.raises(IdempotencyMismatch):
            await reserve("other body")
        await idempotency.answer(c, "POST /x", "key", 202, {"id": "a\0"})
        assert await reserve("body") == idempotency.StoredAnswer(202, {"id": "a\ufffd"})
        await idempotency.release(c, "POST /x", "key")
        await idempotency.drop_unanswered(c, "next run")
        assert await reserve("body") is not None
        await idempotency.drop_older(c, now() + timedelta(seconds=1))
        assert await reserve("body") is None
        await idempotency.drop_unanswered(c, "next run")
        assert await reserve("body") is None
