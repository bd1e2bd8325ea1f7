"""The pool: warm backends keyed by (session, agent). A slot is started once, leased, evicted, retired."""

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace

import anyio
from anyio.abc import TaskGroup

from coder.backends.base import AgentBackend, AgentSessionHandle, SessionOptions
from coder.errors import AgentDied, AgentError, AgentUnavailable, AuthRequired, CoderError, Conflict, Unavailable
from coder.journal import Journal
from coder.logs import about
from coder.memory import to_rest
from coder.model.checkpoints import ConversationPoint
from coder.model.events import AgentStatusChanged
from coder.model.pool import PoolShare, PoolTotals
from coder.model.sessions import AgentSession, AgentSessionStatus, AgentStatus
from coder.model.values import now
from coder.protocol import PoolHealth
from coder.slots import CALM, DEATHS, Key, RestartBudget, Slot, held_bytes, holdings
from coder.store import agent_sessions
from coder.store.database import Store
from coder.tallies import LeaseTally, PoolTally, Waits

logger = logging.getLogger(__name__)

OpenBackend = Callable[[str, str], AbstractAsyncContextManager[AgentBackend]]
"""(session id, agent) -> a backend that lives as long as the context."""

FIRST_LOOK = 5.0
"""When an agent is up, its memory is looked at after so many seconds, and then with every sweep."""
STATUS_OF: dict[AgentSessionStatus, AgentStatus] = {
    AgentSessionStatus.IDLE: "idle",
    AgentSessionStatus.ACTIVE: "working",
    AgentSessionStatus.CRASHED: "crashed",
    AgentSessionStatus.CLOSED: "cold",
}


@dataclass(frozen=True)
class PoolLimits:
    """Agents that cannot resume their conversation are kept four times as long, and neither age nor size ends them.

    `resident_bytes` is for one agent, `budget_bytes` for all of them together.
    """

    idle_seconds: float
    live: int
    spawning: int
    age_seconds: float
    resident_bytes: int
    budget_bytes: int


@dataclass(frozen=True)
class Lease:
    """Exclusive use of a warm backend for one turn."""

    backend: AgentBackend
    handle: AgentSessionHandle


class AgentPool:
    """`limits` bound what is kept warm; a busy backend is never evicted."""

    def __init__(
        self,
        group: TaskGroup,
        store: Store,
        journal: Journal,
        open_backend: OpenBackend,
        limits: PoolLimits,
        clock: Callable[[], float],
    ) -> None:
        self._group = group
        self._store = store
        self._journal = journal
        self._open_backend = open_backend
        self._limits = limits
        self._spawning = anyio.CapacityLimiter(limits.spawning)
        self._clock = clock
        self._slots: dict[Key, Slot] = {}
        self._budgets: dict[Key, RestartBudget] = {}
        self._spares: set[str] = set()
        self._sizes: dict[str, int] = {}
        self._is_closing = False
        self.tally = PoolTally()

    @asynccontextmanager
    async def lease(self, options: SessionOptions) -> AsyncGenerator[Lease]:
        """Exclusive use of the key's backend: the warm one, or one cold start that serves every waiter.

        Raises:
            AgentError: it could not be started; AgentUnavailable while the key's restart budget is spent.
        """
        slot, begun = self._slot_for(options), self._clock()
        leases = self.tally.leases.setdefault(options.agent, LeaseTally())
        waits = leases.warm if slot.is_warm else leases.cold
        slot.leases += 1
        slot.was_leased = True
        self._spares.discard(options.session_id)
        try:
            await slot.ready.wait()
            async with slot.turn:
                waits.note(self._clock() - begun)
                if slot.error or slot.backend is None or slot.handle is None or slot.gone.is_set():
                    raise slot.error or AgentDied(f"{options.agent} ended before the turn began")
                yield Lease(slot.backend, slot.handle)
        finally:
            slot.leases -= 1
            slot.last_used = self._clock()
            if slot.is_retired and not slot.leases:
                self._evict(slot, "outgrown")

    async def warm(self, options: SessionOptions) -> AgentSession:
        """Start the key's backend if it is cold and return its row."""
        slot = self._slot_for(options)
        await slot.ready.wait()
        if slot.error:
            raise slot.error
        async with self._store.connection() as connection:
            return await agent_sessions.get(connection, *slot.key)

    async def close(self, session_id: str, agent: str) -> None:
        """Retire the key's backend; its conversation can be resumed later.

        Raises:
            Conflict: a turn is running on it.
        """
        slot = self._slots.get((session_id, agent))
        if slot is None:
            return
        if slot.leases:
            raise Conflict(f"{agent} is working; cancel its turn first", code="agent_busy")
        slot.end()
        await slot.recorded.wait()

    async def close_session(self, session_id: str) -> None:
        """Retire every backend of the session, busy or not."""
        self._spares.discard(session_id)
        slots = [slot for key, slot in self._slots.items() if key[0] == session_id]
        for slot in slots:
            slot.end()
        for slot in slots:
            await slot.recorded.wait()

    async def close_all(self) -> None:
        """Retire everything and take no new lease."""
        self._is_closing = True
        slots = list(self._slots.values())
        for slot in slots:
            slot.end()
        for slot in slots:
            await slot.recorded.wait()

    def health(self) -> PoolHealth:
        slots = self._slots.values()
        return PoolHealth(
            size=len(slots),
            warm=sum(slot.is_warm for slot in slots),
            leased=sum(slot.leases > 0 for slot in slots),
            limit=self._limits.live,
        )

    def share(self, agent: str) -> PoolShare:
        """What one provider's agents take and give."""
        warm = [slot for slot in self._slots.values() if slot.key[1] == agent and slot.is_warm]
        leases = self.tally.leases.get(agent, LeaseTally())
        turns = leases.warm.count + leases.cold.count
        return PoolShare(
            warm=len(warm),
            leased=sum(slot.leases > 0 for slot in warm),
            turns=turns,
            hit_rate=leases.warm.count / turns if turns else None,
            warm_wait_seconds=Waits.median(leases.warm),
            cold_wait_seconds=Waits.median(leases.cold),
            resident_bytes=held_bytes(warm),
        )

    def totals(self) -> PoolTotals:
        """All agents together, as far as their memory was looked at."""
        warm = [slot for slot in self._slots.values() if slot.is_warm]
        return PoolTotals(
            warm=len(warm),
            limit=self._limits.live,
            resident_bytes=held_bytes(warm) or 0,
            memory_budget_bytes=self._limits.budget_bytes,
        )

    def resident_bytes(self) -> dict[str, int]:
        """What warm agents hold, by provider, where it was looked at."""
        agents = {slot.key[1] for slot in self._slots.values()} | set(self.tally.leases)
        held = {agent: self.share(agent).resident_bytes for agent in sorted(agents)}
        return {agent: size for agent, size in held.items() if size is not None}

    def has_room_ahead(self, agent: str) -> bool:
        """Whether one more may be started that nobody has asked for.

        Half of the places are left to what people ask for, and one as large as the provider's last has to fit in.
        """
        held = sum(holding.bytes for holding in holdings(self._slots.values(), self._spares))
        fits = held + self._sizes.get(agent, 0) <= self._limits.budget_bytes
        return fits and len(self._slots) < self._limits.live // 2

    def set_aside(self, session_id: str) -> None:
        """Nobody has asked for this session yet: its agents are the first to go."""
        self._spares.add(session_id)

    def hand_over(self, session_id: str) -> None:
        """Somebody has asked for the session that was set aside: its agents count as used now."""
        self._spares.discard(session_id)
        for slot in self._slots.values():
            if slot.key[0] == session_id:
                slot.last_used = self._clock()

    def is_warm(self, session_id: str, agent: str) -> bool:
        """Whether the key's backend is open."""
        slot = self._slots.get((session_id, agent))
        return slot is not None and slot.is_warm and not slot.retire.is_set()

    def renew(self, session_id: str, agent: str) -> None:
        """Have the next turn begin with a new process, where nobody waits for this one and the agent can resume."""
        slot = self._slots.get((session_id, agent))
        if slot is not None and slot in self._idle_slots() and slot.can_resume:
            slot.end()

    def report_success(self, session_id: str, agent: str) -> None:
        """A turn ended well: deaths before it no longer count as in a row."""
        if budget := self._budgets.get((session_id, agent)):
            budget.in_a_row = 0

    async def sweep(self) -> None:
        """Evict what has been idle for too long or is more than the limits, and let what has grown too old or too large
        begin afresh.

        That takes nobody new from now on, and where it is busy it ends with its turn.
        """
        looked: dict[tuple[str, str | int], int] = {}
        for slot in [slot for slot in self._slots.values() if slot.is_warm]:
            size = looked[slot.process] = await self._look(slot, looked.get(slot.process))
            if slot.backend is not None and slot.can_resume and self._is_outgrown(slot.backend, size):
                slot.backend.retire()
        at, idle_seconds = self._clock(), self._limits.idle_seconds
        for slot in self._idle_slots():
            keep = idle_seconds if slot.can_resume else 4 * idle_seconds
            if slot.is_retired or at - slot.last_used >= keep:
                self._evict(slot, "outgrown" if slot.is_retired else "idle")
        self._make_room()

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await anyio.sleep(min(60.0, self._limits.idle_seconds, self._limits.age_seconds))
            await self.sweep()

    def _slot_for(self, options: SessionOptions) -> Slot:
        if self._is_closing:
            raise Unavailable("the host is shutting down")
        key = options.session_id, options.agent
        slot = self._slots.get(key)
        if slot is not None and not slot.retire.is_set() and not slot.gone.is_set():
            return slot
        budget = self._budgets.setdefault(key, RestartBudget())
        if budget.is_spent(self._clock()):
            raise AgentUnavailable(
                f"{options.agent} died {DEATHS} times; it is tried again after {CALM:.0f} s of calm",
                code="agent_unhealthy",
            )
        self.tally.restarts += budget.in_a_row > 0
        predecessor, slot = slot, Slot(key, options, last_used=self._clock())
        self._slots[key] = slot
        self._make_room()
        self._group.start_soon(self._hold, slot, predecessor)
        return slot

    def _is_outgrown(self, backend: AgentBackend, size: int) -> bool:
        is_old = backend.is_retired or backend.age() >= self._limits.age_seconds
        return is_old or size > self._limits.resident_bytes

    async def _look(self, slot: Slot, known: int | None = None) -> int:
        """Note how much memory the slot's agent holds now, which may be known from a look at another slot of it."""
        size = await slot.backend.resident_bytes() if known is None and slot.backend else known or 0
        slot.resident_bytes = size
        if size:
            self._sizes[slot.key[1]] = size
        return size

    async def _look_first(self, slot: Slot) -> None:
        await anyio.sleep(FIRST_LOOK)
        await self._look(slot)
        self._make_room()

    def _idle_slots(self) -> list[Slot]:
        """Those that nobody uses, in the order in which they go."""
        idle = [slot for slot in self._slots.values() if slot.is_idle]
        return sorted(idle, key=lambda slot: (slot.key[0] not in self._spares, slot.last_used))

    def _make_room(self) -> None:
        """Evict idle backends over the limits, those of spare sessions first, then the least recently used.

        Busy ones, and those that would forget their conversation, may exceed them for a while.
        """
        excess = sum(not slot.retire.is_set() for slot in self._slots.values()) - self._limits.live
        idle = [slot for slot in self._idle_slots() if slot.forgets_nothing]
        for slot in idle[: max(0, excess)]:
            self._evict(slot, "count")
        for holding in to_rest(holdings(self._slots.values(), self._spares), self._limits.budget_bytes):
            for key in holding.keys:
                self._evict(self._slots[key], "memory")

    def _evict(self, slot: Slot, reason: str) -> None:
        if slot.retire.is_set():
            return
        self.tally.evicted[reason] += 1
        session_id, agent = slot.key
        logger.info("agent evicted: %s", reason, extra={"session": session_id, "agent": agent})
        slot.end()

    async def _hold(self, slot: Slot, predecessor: Slot | None) -> None:
        """The slot's whole life, in one task: open, wait, dispose."""
        session_id, agent = slot.key
        # not about the task that happened to be the first
        with about(session=session_id, agent=agent):
            await self._live(slot, predecessor)

    async def _live(self, slot: Slot, predecessor: Slot | None) -> None:
        if predecessor is not None:
            await predecessor.recorded.wait()
        session_id, agent = slot.key
        ending = AgentSessionStatus.CRASHED
        try:
            async with self._open_backend(session_id, agent) as backend:
                try:
                    with slot.starting:
                        await self._start_visibly(slot, backend)
                    ending = await self._wait_for_end(slot, backend)
                except CoderError as error:
                    slot.error = error
        except CoderError as error:
            slot.error = error
        except Exception as error:
            logger.exception("backend failed", extra={"session": session_id, "agent": agent})
            slot.error = AgentError(f"{agent} failed: {error}")
        finally:
            slot.gone.set()
            slot.ready.set()
        try:
            await self._record_end(slot, ending)
        finally:
            slot.recorded.set()
            if self._slots.get(slot.key) is slot:
                del self._slots[slot.key]

    async def _start_visibly(self, slot: Slot, backend: AgentBackend) -> None:
        """What keeps an agent from starting may be the sandbox: whoever reads of it has to know that there is one."""
        try:
            await self._start(slot, backend)
        except AgentError as error:
            if backend.sandbox == "none":
                raise
            words = (
                f"{error} (it was started in a sandbox, {backend.sandbox}; "
                f'"sandbox": "off" in its entry of the provider file starts it without one)'
            )
            raise type(error)(words, code=error.stable_code, **error.fields) from error

    async def _start(self, slot: Slot, backend: AgentBackend) -> None:
        session_id, agent = slot.key
        begun = self._clock()
        async with self._spawning:
            async with self._store.connection() as connection:
                row = await agent_sessions.find(connection, session_id, agent)
                rewind = await agent_sessions.rewind_of(connection, session_id, agent)
            point = rewind or ConversationPoint(agent_session_id=row.agent_session_id if row else None)
            await self._tell(slot.key, "waking" if point.agent_session_id else "starting")
            options = replace(slot.options, resume_token=point.agent_session_id, resume_before=point.before)
            handle = await backend.ensure_session(options)
        spread = self.tally.resumed_starts if handle.is_resumed else self.tally.fresh_starts
        spread.note(self._clock() - begun)
        can_steer, sandbox = backend.capabilities.steer, backend.sandbox
        async with self._journal.commit(session_id) as commit:
            await agent_sessions.upsert(
                commit.connection,
                AgentSession(
                    session_id=session_id,
                    agent=agent,
                    backend=handle.backend,
                    agent_session_id=handle.agent_session_id,
                    server_port=handle.server_port,
                    status=AgentSessionStatus.IDLE,
                    last_active_at=now(),
                    can_steer=can_steer,
                    can_resume=backend.capabilities.resume,
                    sandbox=sandbox,
                ),
                rewind=rewind,
            )
            message = _memory(point, handle)
            opened = AgentStatusChanged(
                agent=agent, status="idle", message=message, can_steer=can_steer, sandbox=sandbox
            )
            commit.append(opened, agent=agent)
        slot.backend, slot.handle = backend, handle
        slot.last_used = self._clock()
        slot.ready.set()

    async def _wait_for_end(self, slot: Slot, backend: AgentBackend) -> AgentSessionStatus:
        """Wait until the slot is retired or its agent is gone by itself."""
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await backend.wait_closed()
                group.cancel_scope.cancel()

            group.start_soon(watch)
            group.start_soon(self._look_first, slot)
            await slot.retire.wait()
            group.cancel_scope.cancel()
        if slot.retire.is_set():
            return AgentSessionStatus.CLOSED
        slot.retire.set()
        return AgentSessionStatus.CRASHED

    async def _record_end(self, slot: Slot, ending: AgentSessionStatus) -> None:
        session_id, agent = slot.key
        if ending is AgentSessionStatus.CRASHED:
            self.tally.crashed += slot.handle is not None
            self.tally.failed_starts += slot.handle is None
            what = "died" if slot.handle else "did not start"
            logger.warning("agent %s: %s", what, slot.error or "no reason known")
        if ending is AgentSessionStatus.CRASHED and not isinstance(slot.error, AuthRequired | AgentUnavailable):
            self._budgets.setdefault(slot.key, RestartBudget()).died(self._clock())
        message = str(slot.error) if slot.error else None
        try:
            async with self._journal.commit(session_id) as commit:
                await agent_sessions.set_status(commit.connection, session_id, agent, ending)
                commit.append(AgentStatusChanged(agent=agent, status=STATUS_OF[ending], message=message), agent=agent)
        except CoderError as fault:
            logger.warning("agent's end not recorded: %s", fault, extra={"session": session_id, "agent": agent})

    async def _tell(self, key: Key, status: AgentStatus) -> None:
        await self._journal.append(key[0], AgentStatusChanged(agent=key[1], status=status), agent=key[1])


def _memory(point: ConversationPoint, handle: AgentSessionHandle) -> str | None:
    """What a person should know of what the agent remembers, where that is not what it was asked to."""
    if point.agent_session_id and not handle.is_resumed:
        return "its memory of the conversation is gone"
    if point.before and handle.is_whole:
        return "it remembers more than the checkpoint: its conversation could not be brought back"
    return None


@asynccontextmanager
async def open_pool(
    store: Store,
    journal: Journal,
    open_backend: OpenBackend,
    limits: PoolLimits,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[AgentPool]:
    """A pool; leaving it disposes of every backend."""
    async with anyio.create_task_group() as group:
        pool = AgentPool(group, store, journal, open_backend, limits, clock)
        group.start_soon(pool.run)
        try:
            yield pool
        finally:
            with anyio.move_on_after(15, shield=True):
                await pool.close_all()
            group.cancel_scope.cancel()
