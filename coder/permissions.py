"""Permission requests: ask a person, take one answer, tell whoever waits."""

import logging
from dataclasses import dataclass, field
from datetime import timedelta

import anyio

from coder.errors import InvalidInput, WrongState
from coder.journal import Journal
from coder.model.events import PermissionRequested, PermissionResolved
from coder.model.permissions import PermissionOption, PermissionOutcome, PermissionRequest, PermissionStatus
from coder.model.tool_calls import ToolCall
from coder.model.values import new_id, now
from coder.protocol import Page
from coder.store import permissions
from coder.store.database import Store
from coder.tallies import PermissionTally

logger = logging.getLogger(__name__)


@dataclass
class _Waiter:
    task_id: str | None
    decided: anyio.Event = field(default_factory=anyio.Event)
    outcome: PermissionOutcome | None = None


class Permissions:
    """`timeout` seconds is how long a request waits for a person before it counts as cancelled."""

    def __init__(self, store: Store, journal: Journal, *, timeout: float) -> None:
        self._store = store
        self._journal = journal
        self._timeout = timeout
        self._waiting: dict[str, _Waiter] = {}
        self.tally = PermissionTally()

    @property
    def waiting(self) -> int:
        """How many requests nobody has decided yet."""
        return len(self._waiting)

    async def ask(
        self, session_id: str, task_id: str, agent: str, tool_call: ToolCall, options: tuple[PermissionOption, ...]
    ) -> PermissionOutcome:
        """Put the request to whoever watches and wait: for an answer, the end of the turn, or the deadline."""
        request = self._new_request(session_id, task_id, agent, tool_call, options)
        async with self._journal.commit(session_id) as commit:
            await permissions.insert(commit.connection, request)
            commit.append(PermissionRequested(request=request), agent=agent, task_id=task_id)
            waiter = self._waiting[request.id] = _Waiter(task_id)
        try:
            with anyio.move_on_after(self._timeout):
                await waiter.decided.wait()
            if waiter.outcome is None:
                await self._resolve(request.id, PermissionStatus.EXPIRED)
            return waiter.outcome or PermissionOutcome(status=PermissionStatus.EXPIRED)
        finally:
            if waiter.outcome is None:
                with anyio.move_on_after(5, shield=True):
                    await self._resolve(request.id, PermissionStatus.CANCELLED)
            del self._waiting[request.id]

    async def answer(self, id: str, option_id: str, by: str) -> PermissionRequest:
        """Choose one of the request's own options.

        Raises:
            NotFound: no such request. InvalidInput: not one of its options. WrongState: it was decided before.
        """
        request = await self.get(id)
        if option_id not in {option.id for option in request.options}:
            offered = ", ".join(option.id for option in request.options)
            raise InvalidInput(f"the request has no option {option_id!r}; it offers {offered}", code="unknown_option")
        return await self._decide(request, PermissionStatus.SELECTED, option_id, by)

    async def cancel_open(self, task_id: str) -> None:
        """Every open request of the task ends as cancelled."""
        for id in [id for id, waiter in self._waiting.items() if waiter.task_id == task_id]:
            await self._resolve(id, PermissionStatus.CANCELLED)

    async def reconcile(self) -> None:
        """After a crash nobody waits for the requests that are still open: they end as cancelled."""
        async with self._store.connection() as connection:
            left = await permissions.list_page(connection, status=PermissionStatus.PENDING, limit=500)
        for request in left.items:
            await self._resolve(request.id, PermissionStatus.CANCELLED)
        if left.next:
            await self.reconcile()

    async def get(self, id: str) -> PermissionRequest:
        """Raises NotFound."""
        async with self._store.connection() as connection:
            return await permissions.get(connection, id)

    async def list(
        self, session_id: str | None, status: PermissionStatus | None, cursor: str | None, limit: int
    ) -> Page[PermissionRequest]:
        """Requests, newest first."""
        async with self._store.connection() as connection:
            return await permissions.list_page(
                connection, session_id=session_id, status=status, after=cursor, limit=limit
            )

    async def _resolve(self, id: str, status: PermissionStatus) -> None:
        try:
            await self._decide(await self.get(id), status, None, None)
        except WrongState:
            logger.debug("permission request was decided meanwhile", extra={"request": id})

    async def _decide(
        self, request: PermissionRequest, status: PermissionStatus, option_id: str | None, by: str | None
    ) -> PermissionRequest:
        outcome = PermissionOutcome(status=status, option_id=option_id, decided_by=by)
        async with self._journal.commit(request.session_id) as commit:
            decided = await permissions.decide(commit.connection, request.id, status, option_id=option_id, by=by)
            commit.append(
                PermissionResolved(request_id=request.id, outcome=outcome),
                agent=request.agent,
                task_id=request.task_id,
            )
        self.tally.outcomes[status] += 1
        self.tally.waits.note((now() - request.created_at).total_seconds())
        if waiter := self._waiting.get(request.id):
            waiter.outcome = outcome
            waiter.decided.set()
        return decided

    def _new_request(
        self,
        session_id: str,
        task_id: str,
        agent: str,
        tool_call: ToolCall,
        options: tuple[PermissionOption, ...],
    ) -> PermissionRequest:
        asked = now()
        return PermissionRequest(
            id=new_id("prm"),
            session_id=session_id,
            task_id=task_id,
            agent=agent,
            tool_call=tool_call,
            options=options,
            status=PermissionStatus.PENDING,
            created_at=asked,
            expires_at=asked + timedelta(seconds=self._timeout),
        )
