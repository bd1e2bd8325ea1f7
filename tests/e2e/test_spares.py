"""Spare sessions: made ahead, given away, replaced."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import ObjectReceiveStream

from coder.errors import NotFound
from coder.model.sessions import Session
from coder.protocol import NewProject
from coder.spares import BUSY, FORGOTTEN, SETTLED, Spares
from coder.testing.repositories import git, make_repository
from coder.testing.rooms import PATIENCE, Room, open_room


def commit(repository: Path, name: str) -> str:
    """One more file in a commit of its own; the commit."""
    (repository / name).write_text(name)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", name)
    return git(repository, "rev-parse", "HEAD").strip()


@asynccontextmanager
async def open_spares(
    room: Room, clock: Callable[[], float] = time.time
) -> AsyncGenerator[tuple[Spares, ObjectReceiveStream[Session]]]:
    """Spares at work without delay; every one that is ready comes through the stream."""
    ready, made = anyio.create_memory_object_stream[Session](10)

    async def warm(spare: Session) -> None:
        await room.host.dispatcher.warm(spare.id, "demo")
        await ready.send(spare)

    with ready, made:
        async with anyio.create_task_group() as group:
            spares = Spares(room.host.sessions, warm, limit=1, delay=0, clock=clock)
            group.start_soon(spares.run)
            with anyio.fail_after(PATIENCE):
                yield spares, made
            group.cancel_scope.cancel()


@pytest.mark.scenario("sessions: an opened session is one that was made ahead")
@pytest.mark.scenario("sessions: a spare session from an older commit is not given away")
@pytest.mark.scenario("sessions: how often a session had been made ahead is told")
async def test_a_spare_is_given_to_whoever_opens_a_session_while_it_is_fresh(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room, open_spares(room) as (spares, made):
        sessions, project_id = room.host.sessions, room.session.project_id
        spares.want(project_id)
        spare = await made.receive()
        listed = await sessions.list(None, None, 10)
        assert [each.id for each in listed.items] == [room.session.id]

        opened = await sessions.open(project_id, "Mine", None)
        assert (opened.id, opened.name, opened.base_commit) == (spare.id, "Mine", room.session.base_commit)
        assert room.host.pool.is_warm(opened.id, "demo")
        assert [each.id for each in (await sessions.list(None, None, 10)).items] == [opened.id, room.session.id]

        spares.want(project_id)
        stale = await made.receive()
        commit(room.repository, "later.txt")
        after = await sessions.open(project_id, None, None)
        assert after.id != stale.id
        assert after.worktree_path is not None
        assert (Path(after.worktree_path) / "later.txt").exists()

        spares.want(project_id)
        fresh = await made.receive()
        assert fresh.base_commit == after.base_commit
        tally, told = sessions.tally, sessions.spare_totals()
        assert (tally.hit.count, tally.stale.count, tally.miss.count) == (1, 1, 1)
        assert (told.openings, told.stale, told.hit_rate) == (3, 1, 1 / 3)
        assert told.hit_seconds is not None
        assert told.miss_seconds is not None
        assert stale.worktree_path is not None
        assert not Path(stale.worktree_path).exists()
        assert not room.host.pool.is_warm(stale.id, "demo")


@pytest.mark.scenario("sessions: spare sessions go with their project")
async def test_only_the_projects_used_last_have_spares_and_take_them_along(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room, open_spares(room) as (spares, made):
        spares.want(room.session.project_id)
        first = await made.receive()
        repository = make_repository(tmp_path / "other")
        other = await room.host.projects.register(NewProject(repo_path=str(repository)))
        spares.want(other.id)
        second = await made.receive()
        with pytest.raises(NotFound):
            await room.host.sessions.get(first.id)

        await spares.drop(other.id)
        await room.host.projects.remove(other.id)
        assert second.worktree_path is not None
        assert not Path(second.worktree_path).exists()
        assert second.branch is not None
        assert second.branch not in git(repository, "branch", "--list", second.branch)
        assert await room.host.sessions.spares() == ()


@pytest.mark.scenario("sessions: as many sessions are made ahead as are being opened")
@pytest.mark.scenario("sessions: spare sessions follow the project's commits")
async def test_spares_are_as_many_as_are_opened_and_follow_the_commits(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        sessions, project_id, at, warmed = room.host.sessions, room.session.project_id, [time.time()], list[str]()

        async def warm(spare: Session) -> None:
            warmed.append(spare.id)

        spares = Spares(sessions, warm, limit=3, delay=0, clock=lambda: at[0])

        async def ready() -> set[str]:
            await spares.check()
            return {spare.id for spare in await sessions.spares()}

        spares.want(project_id)
        spares.want(project_id)
        two, opened = await ready(), set[str]()
        assert (len(two), set(warmed)) == (2, two)

        async def take() -> None:
            opened.add((await sessions.open(project_id, None, None)).id)

        async with anyio.create_task_group() as group:
            for _ in two:
                group.start_soon(take)
        assert opened == two
        assert await ready() == set()

        spares.want(project_id)
        three = await ready()
        assert len(three) == 3
        newest = commit(room.repository, "later.txt")
        assert await ready() == three
        at[0] += SETTLED + 60
        followed = await ready()
        assert (len(followed), followed & three) == (3, set())
        assert {spare.base_commit for spare in await sessions.spares()} == {newest}

        at[0] += BUSY + 1
        (left,) = await ready()
        assert left in followed
        at[0] += FORGOTTEN
        assert await ready() == set()
        spares.want(project_id)
        assert len(await ready()) == 1


@pytest.mark.scenario("sessions: spare sessions outlive the host and are known to the next one")
async def test_the_next_host_knows_where_sessions_were_opened(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        sessions = room.host.sessions
        kept = await sessions.open_spare(room.session.project_id)
        newest = commit(room.repository, "later.txt")
        async with open_spares(room, lambda: time.time() + SETTLED + 60) as (_, made):
            replaced = await made.receive()
            assert replaced.base_commit == newest
        assert [spare.id for spare in await sessions.spares()] == [replaced.id] != [kept.id]

        async def warm(spare: Session) -> None:
            raise AssertionError(spare)

        await Spares(sessions, warm, limit=0, delay=0).run()
        assert await sessions.spares() == ()


@pytest.mark.scenario("sessions: the first prompt of a session that was made ahead finds its agent warm")
async def test_a_host_has_the_next_session_and_its_agent_ready(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url, spare_sessions=1) as room:
        host = room.host
        await room.prompt("counter")
        with anyio.fail_after(PATIENCE):
            while host.pool.share("demo").warm < 2:
                await anyio.sleep(0.1)
        opened = Room(host, room.repository, await host.sessions.open(room.session.project_id, None, None))
        assert host.sessions.tally.hit.count == 1
        await opened.prompt("counter")
        share = host.pool.share("demo")
        assert (share.turns, share.hit_rate) == (2, 0.5)
