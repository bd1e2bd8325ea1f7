"""The host: everything opened in order as one context manager. No logic lives here."""

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import anyio

from coder.backends.base import AgentBackend
from coder.backends.launch import open_launch
from coder.backends.quarters import Quarters
from coder.backends.turn import AgentLimits
from coder.branches import Branches, Roster
from coder.changes import Changes
from coder.checkpoints import Checkpoints
from coder.comments import Comments, follow
from coder.compaction import Compaction
from coder.conversations import Conversations
from coder.decisions import Decisions
from coder.dispatch import Dispatcher
from coder.drafts import Drafts
from coder.files import Files
from coder.homes import open_database
from coder.journal import Journal, open_journal
from coder.memory import usable_bytes
from coder.model.sandboxes import Sandbox
from coder.model.sessions import Session
from coder.model.values import now
from coder.permissions import Permissions
from coder.plans import Plans
from coder.pool import AgentPool, PoolLimits, open_pool
from coder.processes.sandbox import find_sandbox
from coder.processes.supervisor import open_supervisor
from coder.projects import Projects
from coder.providers.providers import Providers, open_providers
from coder.rejections import Rejections
from coder.sessions import Sessions
from coder.settings import Settings, inherited_environment
from coder.setups import Setups, open_setups
from coder.space import Space
from coder.spares import Spares
from coder.standstill import open_standstill
from coder.store import idempotency, tasks
from coder.store.database import Store, open_store
from coder.store.notify import open_listener
from coder.targets import Targets
from coder.turns import Turns
from coder.vitals import Vitals
from coder.workspaces import Workspaces

LookForSandbox = Callable[[str | None], Awaitable[Sandbox]]
"""What this machine has; it is told where programs are looked for."""
KEPT_KEYS = timedelta(days=7)
"""How long the answer to a command with an idempotency key can be asked for again, counted at each start."""


@dataclass
class Host:
    """Everything a request may need, ready for use.

    `draining` is set when the host begins to stop, `closing` when nothing will happen any more that viewers could see.
    """

    settings: Settings
    token: str
    store: Store
    providers: Providers
    journal: Journal
    permissions: Permissions
    pool: AgentPool
    changes: Changes
    comments: Comments
    decisions: Decisions
    rejections: Rejections
    checkpoints: Checkpoints
    branches: Branches
    projects: Projects
    files: Files
    drafts: Drafts
    sessions: Sessions
    setups: Setups
    dispatcher: Dispatcher
    turns: Turns
    vitals: Vitals
    draining: anyio.Event = field(default_factory=anyio.Event)
    closing: anyio.Event = field(default_factory=anyio.Event)

    @property
    def run_id(self) -> str:
        """This run of the host: the epoch of the journal, the owner of its tasks."""
        return self.store.run_id

    @property
    def is_draining(self) -> bool:
        return self.draining.is_set()

    async def drain(self) -> None:
        """Refuse new work, tell viewers, wait for turns up to the grace time, then cancel them."""
        self.draining.set()
        await self.dispatcher.stop(self.settings.shutdown_grace)

    async def finish(self) -> None:
        """Drain, end every agent, store the journal, and let the viewers go."""
        await self.drain()
        await self.setups.close()
        await self.pool.close_all()
        await self.journal.flush_all()
        self.closing.set()


@asynccontextmanager
async def open_host(
    settings: Settings, token: str, *, look_for_sandbox: LookForSandbox = find_sandbox
) -> AsyncGenerator[Host]:
    """Open everything, set right what a crash left behind, and dispatch until the context is left.

    `look_for_sandbox` is given where programs are found.

    Raises:
        HostConfigError: something that the host needs cannot be had; the message says what to change.
    """
    run_id = secrets.token_hex(8)
    environment = inherited_environment()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        standstill = await enter(open_standstill())
        space = Space(settings.home, settings.disk_reserve_mb * 1024 * 1024)
        url = await enter(open_database(settings))
        store = await enter(open_store(url, run_id=run_id))
        supervisor = await enter(open_supervisor(settings.home, run_id))
        hidden = settings.home, settings.resolved_providers_path
        quarters = Quarters(hidden, settings.sandbox, partial(look_for_sandbox, environment.get("PATH")))
        await quarters.open()
        launch = await enter(
            open_launch(supervisor, environment, _agent_limits(settings), settings.home / "agents", quarters)
        )
        providers = await enter(
            open_providers(
                settings.resolved_providers_path,
                store=store,
                probe=launch.probe,
                find=launch.find,
                version=launch.version,
                sandbox=launch.sandbox,
                ttl_ms=settings.probe_ttl_ms,
                environment=environment,
            )
        )
        journal = await enter(open_journal(store))
        permissions = Permissions(store, journal, timeout=settings.permission_timeout)
        workspaces = Workspaces(store, settings.home)
        changes = Changes(store, workspaces, settings.secret_patterns, follow)
        plans = Plans(store, workspaces)
        targets = Targets(workspaces, plans, providers.label)
        rejections = Rejections(store, journal, plans)
        decisions = Decisions(store, journal, plans, targets, changes, rejections)
        setups = await enter(
            open_setups(store, journal, workspaces, supervisor, environment, lambda: dispatcher.wake())
        )

        @asynccontextmanager
        async def open_backend(session_id: str, agent: str) -> AsyncGenerator[AgentBackend]:
            emit = partial(journal.append, session_id, agent=agent)
            variables = await setups.environment(session_id)
            ground = partial(workspaces.ground, session_id)
            async with launch.open(providers.require_usable(agent), emit, session_id, ground, variables) as backend:
                yield backend

        pool = await enter(
            open_pool(
                store,
                journal,
                open_backend,
                PoolLimits(
                    idle_seconds=settings.pool_idle_ttl_ms / 1000,
                    live=settings.pool_max_live,
                    spawning=settings.spawn_limit,
                    age_seconds=settings.pool_max_age_ms / 1000,
                    resident_bytes=settings.pool_max_memory_mb * 1024 * 1024,
                    budget_bytes=(settings.pool_memory_budget_mb or 0) * 1024 * 1024 or usable_bytes() // 2,
                ),
            )
        )
        checkpoints = Checkpoints(store, journal, workspaces, plans, changes, decisions, Conversations(pool.close))

        async def end_work(session_id: str) -> None:
            await dispatcher.end_session(session_id)

        def was_opened(session: Session) -> None:
            pool.hand_over(session.id)
            spares.want(session.project_id)

        sessions = Sessions(
            store,
            journal,
            settings.home / "worktrees",
            workspaces.shadow_path,
            setups,
            agents_folder=settings.home / "agents",
            end_work=end_work,
            was_opened=was_opened,
            limit=settings.max_sessions,
            space=space,
        )
        group = await enter(anyio.create_task_group())
        stack.callback(group.cancel_scope.cancel)
        turns = Turns(store, journal, pool, permissions, decisions, checkpoints, sessions, providers)
        dispatcher = Dispatcher(
            group,
            store,
            journal,
            pool,
            permissions,
            sessions,
            turns,
            providers,
            setups,
            mode=lambda: listener.mode,
            max_queue=settings.max_queue,
            space=space,
        )
        spares = Spares(sessions, partial(_warm_spare, store, pool, dispatcher), limit=settings.spare_sessions, delay=3)
        listener = await enter(open_listener(url, "tasks_new", dispatcher.wake))
        host = Host(
            settings=settings,
            token=token,
            store=store,
            providers=providers,
            journal=journal,
            permissions=permissions,
            pool=pool,
            changes=changes,
            comments=Comments(store, journal, workspaces, dispatcher.submit),
            decisions=decisions,
            rejections=rejections,
            checkpoints=checkpoints,
            branches=Branches(
                store,
                journal,
                workspaces,
                plans,
                targets,
                changes,
                Roster(
                    require_usable=providers.require_usable,
                    submit=lambda wish: dispatcher.submit(wish),
                ),
            ),
            projects=Projects(store, settings.home / "agents", drop_spares=spares.drop),
            files=Files(workspaces),
            drafts=Drafts(store),
            sessions=sessions,
            setups=setups,
            dispatcher=dispatcher,
            turns=turns,
            vitals=Vitals(store, journal, dispatcher, standstill, space),
        )
        await _reconcile(host)
        group.start_soon(dispatcher.run)
        group.start_soon(spares.run)
        group.start_soon(Compaction(store, journal, settings.compact_after).run)
        try:
            yield host
        finally:
            with anyio.move_on_after(settings.shutdown_grace + 15, shield=True):
                await host.drain()


async def _reconcile(host: Host) -> None:
    """What a dead run left: keys of commands that got no answer, open requests, running turns, half-made sessions."""
    async with host.store.transaction() as connection:
        await idempotency.drop_unanswered(connection, host.run_id)
        await idempotency.drop_older(connection, now() - KEPT_KEYS)
    await host.permissions.reconcile()
    await host.dispatcher.reconcile()
    await host.sessions.reconcile()
    await host.setups.reconcile()
    await host.decisions.reconcile()


async def _warm_spare(store: Store, pool: AgentPool, dispatcher: Dispatcher, spare: Session) -> None:
    """Start the agent that was used last in the project, where the pool has room enough for what people ask for."""
    async with store.connection() as connection:
        agent = await tasks.last_agent(connection, spare.project_id)
    if agent is not None and pool.has_room_ahead(agent):
        pool.set_aside(spare.id)
        await dispatcher.warm(spare.id, agent)


def _agent_limits(settings: Settings) -> AgentLimits:
    return AgentLimits(
        initialize=settings.initialize_timeout,
        session_start=settings.session_start_timeout,
        first_update=settings.first_update_timeout,
        inactivity=settings.inactivity_timeout,
        cancel=settings.cancel_timeout,
    )
