"""Setups of worktrees, what was trusted to run, and the ports that sessions have."""

from collections.abc import Collection

from asyncpg import Connection, Record

from coder.errors import Conflict, NotFound
from coder.json_values import clean_text
from coder.model.setups import Setup, SetupState, TrustedSetup
from coder.model.tasks import Fault
from coder.store import sessions
from coder.store.rows import found, wrong_state
from coder.store.statements import sql


async def insert(c: Connection, setup: Setup) -> None:
    """What a new worktree's repository asks for; its ports are leased apart."""
    recipe = None if setup.recipe is None else setup.recipe.model_dump(mode="json")
    row = (setup.session_id, str(setup.state), setup.source, setup.digest, recipe, _dumped(setup.error))
    await c.execute(sql("insert_setup"), *row)


async def find(c: Connection, session_id: str) -> Setup | None:
    """The setup of a session; None where its repository asks for nothing."""
    row = await c.fetchrow(sql("get_setup"), session_id)
    return Setup.model_validate(dict(row)) if row else None


async def get(c: Connection, session_id: str) -> Setup:
    """The setup of a session, in state `none` where its repository asks for nothing; NotFound: no such session."""
    if setup := await find(c, session_id):
        return setup
    await sessions.get(c, session_id)
    return Setup(session_id=session_id, state=SetupState.NONE)


async def queue(c: Connection, session_id: str, states: Collection[SetupState]) -> Setup:
    """Let it run, from one of these states.

    Raises:
        NotFound. WrongState: it is in none of them. Conflict: `turn_running`, an agent works in the worktree.
    """
    row = await c.fetchrow(sql("queue_setup"), session_id, [str(state) for state in states])
    setup = await get(c, session_id)
    if row is None and setup.state in states and setup.recipe is not None:
        raise Conflict("an agent is working in this worktree; let its turn end first", code="turn_running")
    if row is None:
        raise wrong_state("setup of", session_id, setup.state, states)
    return setup


async def begin(c: Connection, session_id: str) -> Setup:
    """Start it; NotFound, WrongState."""
    return await _moved(c, sql("begin_setup"), session_id, [SetupState.PENDING])


async def note_log(c: Connection, session_id: str, log: str) -> Setup:
    """Keep what it has printed so far; NotFound, WrongState."""
    return await _moved(c, sql("note_setup_log"), session_id, [SetupState.RUNNING], clean_text(log))


async def end(
    c: Connection, session_id: str, state: SetupState, *, error: Fault | None, exit_status: int | None, log: str | None
) -> Setup:
    """End a running one; a `log` of None keeps what was stored. NotFound, WrongState."""
    text = None if log is None else clean_text(log)
    values = (str(state), _dumped(error), exit_status, text)
    return await _moved(c, sql("end_setup"), session_id, [SetupState.RUNNING], *values)


async def skip(c: Connection, session_id: str) -> Setup:
    """Go on without it; NotFound, WrongState."""
    wanted = [SetupState.UNTRUSTED, SetupState.PENDING, SetupState.FAILED]
    return await _moved(c, sql("skip_setup"), session_id, wanted)


async def in_state(c: Connection, state: SetupState) -> tuple[str, ...]:
    """The sessions whose setup is in a state, oldest first."""
    return tuple(row["session_id"] for row in await c.fetch(sql("setups_in_state"), str(state)))


async def is_trusted(c: Connection, project_id: str, digest: str) -> bool:
    """Whether this content may run for the project. Whoever trusts it at the same time waits for this transaction."""
    await c.execute(sql("hold_project_trust"), project_id)
    return await c.fetchrow(sql("get_trusted_setup"), project_id, digest) is not None


async def is_session_trusted(c: Connection, session_id: str) -> bool:
    """Whether the session's own setup file may run."""
    return bool(await c.fetchval(sql("is_session_setup_trusted"), session_id))


async def trust(c: Connection, project_id: str, digest: str, by: str) -> tuple[TrustedSetup, tuple[str, ...]]:
    """Remember that this content may run; also the sessions that wait for it.

    Raises:
        NotFound: no worktree of the project has a setup file of this content.
    """
    await c.execute(sql("hold_project_trust"), project_id)
    if not await c.fetchval(sql("is_setup_known"), project_id, digest):
        raise NotFound("no worktree of this project has a setup file of this digest", noun="setup", id=digest)
    await c.execute(sql("trust_setup"), project_id, digest, by)
    row = found(await c.fetchrow(sql("get_trusted_setup"), project_id, digest), "trusted setup", digest)
    waiting = await c.fetch(sql("untrusted_setups"), project_id, digest)
    return TrustedSetup.model_validate(dict(row)), tuple(each["session_id"] for each in waiting)


async def leased_ports(c: Connection) -> frozenset[int]:
    """Every port that some session has."""
    return frozenset(row["port"] for row in await c.fetch(sql("leased_ports")))


async def lease_port(c: Connection, session_id: str, name: str, port: int) -> bool:
    """Give a session a port; False when another one has it. It is given back with the session's row."""
    return await c.fetchrow(sql("lease_port"), port, session_id, name) is not None


async def _moved(
    c: Connection, statement: str, session_id: str, wanted: Collection[SetupState], *values: object
) -> Setup:
    row: Record | None = await c.fetchrow(statement, session_id, *values)
    setup = await get(c, session_id)
    if row is None:
        raise wrong_state("setup of", session_id, setup.state, wanted)
    return setup


def _dumped(fault: Fault | None) -> object:
    return None if fault is None else fault.model_dump(mode="json")
