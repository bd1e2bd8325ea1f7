"""The Python client of the API: typed over model values, errors raised as the host raised them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Literal, Self, TypeVar
from urllib.parse import quote

import anyio
import httpx2
from pydantic import BaseModel, ValidationError

from coder.errors import UNREACHABLE, CoderError, Unavailable
from coder.event_stream import EventStream, Following
from coder.model.branches import BranchCommit, BranchStatus, BranchUpdate, CommitWhat, OnConflict, UpdateHow
from coder.model.changes import Change, ChangeDetail, ChangeLines, ChangeStatus, Target
from coder.model.checkpoints import Checkpoint, CheckpointDetail
from coder.model.comments import Comment, CommentStatus, Side
from coder.model.decisions import Decision, DecisionState
from coder.model.events import Record
from coder.model.permissions import PermissionRequest, PermissionStatus
from coder.model.providers import Diagnostic, ProviderConfig, ProviderSnapshot
from coder.model.sessions import AgentSession, Project, Session
from coder.model.setups import Setup, TrustedSetup
from coder.model.tasks import ENDED, Task, TaskState
from coder.model.values import Json
from coder.problems import error_of
from coder.protocol import (
    ApplyChange,
    ApplyChanges,
    BranchIncoming,
    ChosenChange,
    CommentPatch,
    Health,
    Hunks,
    NewComment,
    NewCommit,
    NewProject,
    NewReply,
    NewSession,
    Page,
    PermissionAnswer,
    Prompt,
    ProviderPage,
    ProviderPatch,
    ProviderRefresh,
    RejectChange,
    RejectChanges,
    RestoreCheckpoint,
    RevertChange,
    Review,
    SessionPatch,
    SetupAction,
    SnapshotFrame,
    TaskPatch,
    TrustSetup,
)

Model = TypeVar("Model", bound=BaseModel)


class Client:
    """One host, seen through its API. Use as a context manager. Every method raises what the host answered with."""

    def __init__(self, url: str, token: str, *, timeout: float = 60.0) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx2.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=httpx2.Timeout(timeout, connect=5.0), trust_env=False
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def health(self) -> Health:
        """How the host is; its troubles are no error."""
        return _parsed(Health, await self._send("GET", "/api/health", also=503))

    async def metrics(self) -> str:
        """The host's figures as Prometheus reads them."""
        return (await self._send("GET", "/metrics")).text

    async def projects(self, cursor: str | None = None, limit: int = 100) -> Page[Project]:
        return await self._get(Page[Project], "/api/projects", cursor=cursor, limit=limit)

    async def register_project(self, repo_path: str, name: str | None = None, *, key: str | None = None) -> Project:
        return await self._post(Project, "/api/projects", NewProject(repo_path=repo_path, name=name), key)

    async def project(self, id: str) -> Project:
        return await self._get(Project, _path("projects", id))

    async def remove_project(self, id: str) -> None:
        await self._send("DELETE", _path("projects", id))

    async def sessions(
        self, project_id: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[Session]:
        return await self._get(Page[Session], "/api/sessions", project_id=project_id, cursor=cursor, limit=limit)

    async def open_session(
        self, project_id: str, name: str | None = None, base_ref: str | None = None, *, key: str | None = None
    ) -> Session:
        body = NewSession(project_id=project_id, name=name, base_ref=base_ref)
        return await self._post(Session, "/api/sessions", body, key)

    async def session(self, id: str) -> Session:
        return await self._get(Session, _path("sessions", id))

    async def edit_session(self, id: str, *, name: str | None = None, auto_apply: bool | None = None) -> Session:
        """Another name, or whether its changes are applied by themselves; None stays as it is."""
        given = {"name": name, "auto_apply": auto_apply}
        patch = SessionPatch.model_validate({field: value for field, value in given.items() if value is not None})
        return _parsed(Session, await self._send("PATCH", _path("sessions", id), patch))

    async def close_session(self, id: str, *, force: bool = False, keep_branch: bool = False) -> None:
        query = {"force": "1" if force else "0", "keep_branch": "1" if keep_branch else "0"}
        await self._send("DELETE", _path("sessions", id), query=query)

    async def branch(self, session_id: str) -> BranchStatus:
        return await self._get(BranchStatus, _path("sessions", session_id, "branch"))

    async def commit(
        self, session_id: str, message: str, changes: CommitWhat = "applied", *, key: str | None = None
    ) -> BranchCommit:
        """Commit on the session's branch what was applied, or all that the worktree holds."""
        body = NewCommit(message=message, changes=changes)
        return await self._post(BranchCommit, _path("sessions", session_id, "commit"), body, key)

    async def update_branch(
        self, session_id: str, how: UpdateHow = "merge", on_conflict: OnConflict = "abort", agent: str | None = None
    ) -> BranchUpdate:
        """Bring the project's default branch into the session."""
        body = BranchIncoming(how=how, on_conflict=on_conflict, agent=agent)
        return await self._post(BranchUpdate, _path("sessions", session_id, "branch", "update"), body)

    async def patch(self, session_id: str, changes: Literal["applied", "pending", "all"] = "all") -> bytes:
        """The session's changes as `git apply` takes them."""
        return (await self._send("GET", _path("sessions", session_id, "patch"), query={"changes": changes})).content

    async def setup(self, session_id: str) -> Setup:
        """What the repository asks for in a new worktree, and how far that is."""
        return await self._get(Setup, _path("sessions", session_id, "setup"))

    async def run_setup(self, session_id: str) -> Setup:
        """Answers when it is under way; follow `events` to see its end."""
        return await self._post(Setup, _path("sessions", session_id, "setup"), SetupAction(action="run"))

    async def skip_setup(self, session_id: str) -> Setup:
        """Let prompts go without it."""
        return await self._post(Setup, _path("sessions", session_id, "setup"), SetupAction(action="skip"))

    async def trust_setup(self, project_id: str, digest: str) -> TrustedSetup:
        """Let the setup file of this digest run in all sessions of the project, now and later."""
        return await self._post(TrustedSetup, _path("projects", project_id, "trust"), TrustSetup(digest=digest))

    async def agent_sessions(self, session_id: str) -> Sequence[AgentSession]:
        return (await self._get(Page[AgentSession], _path("sessions", session_id, "agent-sessions"))).items

    async def warm(self, session_id: str, agent: str) -> AgentSession:
        return await self._post(AgentSession, _path("sessions", session_id, "agent-sessions", agent, "warm"))

    async def close_agent(self, session_id: str, agent: str) -> None:
        await self._send("DELETE", _path("sessions", session_id, "agent-sessions", agent))

    async def prompt(self, session_id: str, prompt: Prompt, *, key: str | None = None) -> Task:
        """Returns once the task is stored; follow `events` to see the turn."""
        return await self._post(Task, _path("sessions", session_id, "messages"), prompt, key)

    async def tasks(
        self,
        session_id: str | None = None,
        state: TaskState | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Task]:
        return await self._get(Page[Task], "/api/tasks", session_id=session_id, state=state, cursor=cursor, limit=limit)

    async def task(self, id: str) -> Task:
        return await self._get(Task, _path("tasks", id))

    async def edit_task(self, id: str, patch: TaskPatch) -> Task:
        """Change a task that waits, or its place in the queue."""
        return _parsed(Task, await self._send("PATCH", _path("tasks", id), patch))

    async def cancel_task(self, id: str) -> Task:
        return await self._post(Task, _path("tasks", id, "cancel"))

    async def wait_for_task(self, id: str) -> Task:
        """The task once it has ended."""
        task = await self.task(id)
        async with self.events(task.session_id) as items:
            async for item in items:
                if isinstance(item, SnapshotFrame) or (item.event.type == "turn_ended" and item.task_id == id):
                    task = await self.task(id)
                if task.state in ENDED:
                    break
        return task

    async def permissions(
        self, session_id: str | None = None, status: PermissionStatus | None = None
    ) -> Sequence[PermissionRequest]:
        page = Page[PermissionRequest]
        return (await self._get(page, "/api/permissions", session_id=session_id, status=status, limit=500)).items

    async def answer_permission(self, id: str, option_id: str) -> PermissionRequest:
        return await self._post(PermissionRequest, _path("permissions", id), PermissionAnswer(option_id=option_id))

    async def changes(
        self, session_id: str, status: ChangeStatus | None = None, cursor: str | None = None, limit: int = 500
    ) -> Page[Change]:
        path = _path("sessions", session_id, "changes")
        return await self._get(Page[Change], path, status=status, cursor=cursor, limit=limit)

    async def change(self, id: str) -> ChangeDetail:
        return await self._get(ChangeDetail, _path("changes", id))

    async def change_lines(self, id: str, side: Side, first: int, count: int) -> ChangeLines:
        return await self._get(ChangeLines, _path("changes", id, "lines"), side=side, first=first, count=count)

    async def apply_change(
        self, id: str, *, hunks: Hunks | None = None, target: Target = "checkout", reason: str | None = None
    ) -> Change:
        """Without `hunks` the whole change. The answer is what was applied; what is left stays pending."""
        body = ApplyChange(hunks=hunks, target=target, reason=reason)
        return await self._post(Change, _path("changes", id, "apply"), body)

    async def reject_change(self, id: str, *, hunks: Hunks | None = None, reason: str | None = None) -> Change:
        """While a turn runs the answer is still pending, with what is `queued`."""
        return await self._post(Change, _path("changes", id, "reject"), RejectChange(hunks=hunks, reason=reason))

    async def revert_change(self, id: str, *, reason: str | None = None) -> Change:
        return await self._post(Change, _path("changes", id, "revert"), RevertChange(reason=reason))

    async def apply_changes(
        self,
        session_id: str,
        *,
        changes: Sequence[ChosenChange] | None = None,
        target: Target = "checkout",
        reason: str | None = None,
    ) -> Sequence[Change]:
        """Without `changes` whatever is pending; all of it or nothing."""
        path = _path("sessions", session_id, "changes", "apply")
        body = ApplyChanges(changes=None if changes is None else tuple(changes), target=target, reason=reason)
        return (await self._post(Page[Change], path, body)).items

    async def reject_changes(
        self, session_id: str, *, changes: Sequence[ChosenChange] | None = None, reason: str | None = None
    ) -> Sequence[Change]:
        """Without `changes` whatever is pending; all of it or nothing."""
        path = _path("sessions", session_id, "changes", "reject")
        body = RejectChanges(changes=None if changes is None else tuple(changes), reason=reason)
        return (await self._post(Page[Change], path, body)).items

    async def comments(
        self, session_id: str, status: CommentStatus | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[Comment]:
        path = _path("sessions", session_id, "comments")
        return await self._get(Page[Comment], path, status=status, cursor=cursor, limit=limit)

    async def comment(self, id: str) -> Comment:
        return await self._get(Comment, _path("comments", id))

    async def begin_comment(self, change_id: str, line: int, body: str, *, side: Side = "new") -> Comment:
        """Comment on a line, from 1, of one side of a pending change."""
        return await self._post(
            Comment, _path("changes", change_id, "comments"), NewComment(side=side, line=line, body=body)
        )

    async def reply_to_comment(self, id: str, body: str) -> Comment:
        return await self._post(Comment, _path("comments", id, "replies"), NewReply(body=body))

    async def resolve_comment(self, id: str) -> Comment:
        return _parsed(Comment, await self._send("PATCH", _path("comments", id), CommentPatch(status="resolved")))

    async def reopen_comment(self, id: str) -> Comment:
        return _parsed(Comment, await self._send("PATCH", _path("comments", id), CommentPatch(status="open")))

    async def review(
        self,
        session_id: str,
        agent: str,
        *,
        comments: Sequence[str] | None = None,
        input: str | None = None,
        key: str | None = None,
    ) -> Task:
        """Send open comments to an agent as one prompt; without `comments` those it has not been told yet."""
        chosen = None if comments is None else tuple(comments)
        body = Review(agent=agent, comments=chosen, input=input)
        return await self._post(Task, _path("sessions", session_id, "review"), body, key)

    async def decisions(self, session_id: str, state: DecisionState | None = None) -> Sequence[Decision]:
        """What people decided in a session, newest first."""
        path = _path("sessions", session_id, "decisions")
        return (await self._get(Page[Decision], path, state=state, limit=500)).items

    async def withdraw_decision(self, id: str) -> Decision:
        """Take back what waits for the end of a turn."""
        return _parsed(Decision, await self._send("DELETE", _path("decisions", id)))

    async def checkpoints(self, session_id: str) -> Sequence[Checkpoint]:
        """The points that a session's files can be brought back to, newest first."""
        return (await self._get(Page[Checkpoint], _path("sessions", session_id, "checkpoints"), limit=500)).items

    async def checkpoint(self, id: str) -> CheckpointDetail:
        """With what a restore would change now."""
        return await self._get(CheckpointDetail, _path("checkpoints", id))

    async def restore_checkpoint(self, id: str, *, reason: str | None = None) -> Checkpoint:
        """Bring the worktree's files back; the answer is the checkpoint that undoes it."""
        body = RestoreCheckpoint(reason=reason)
        return await self._post(Checkpoint, _path("checkpoints", id, "restore"), body)

    async def providers(self, *, force: bool = False) -> Sequence[ProviderSnapshot]:
        return (await self.provider_page(force=force)).items

    async def provider_page(self, *, force: bool = False) -> ProviderPage:
        """Every provider, and what is shown beside them."""
        return await self._get(ProviderPage, "/api/providers/snapshot", force="1" if force else None)

    async def provider_config(self) -> ProviderConfig:
        return await self._get(ProviderConfig, "/api/providers/config")

    async def patch_providers(
        self, providers: Mapping[str, Mapping[str, Json] | None], *, merge_fields: bool = False
    ) -> ProviderConfig:
        query = {"merge": "fields"} if merge_fields else {}
        body = ProviderPatch.model_validate({"providers": dict(providers)})
        response = await self._send("PATCH", "/api/providers/config", body, query=query)
        return _parsed(ProviderConfig, response)

    async def refresh_providers(self, ids: Sequence[str] | None = None) -> Sequence[ProviderSnapshot]:
        body = ProviderRefresh(providers=None if ids is None else tuple(ids))
        return (await self._post(ProviderPage, "/api/providers/refresh", body)).items

    async def diagnose_provider(self, id: str) -> Diagnostic:
        return await self._get(Diagnostic, _path("providers", id, "diagnostic"))

    async def records(
        self, session_id: str, after: int | None = None, limit: int = 100, *, before: int | None = None
    ) -> Sequence[Record]:
        """A page of the session's journal: after a number, or the newest records before one."""
        path = _path("sessions", session_id, "events")
        return (await self._get(Page[Record], path, after=after, before=before, limit=limit)).items

    @asynccontextmanager
    async def events(
        self, session_id: str, after: int | None = None, *, patience: float = 60.0
    ) -> AsyncGenerator[EventStream]:
        """Follow a session from behind record `after`, or from a snapshot.

        A lost connection is made again from the last record; after `patience` seconds without one the stream ends.
        """
        send, receive = anyio.create_memory_object_stream[SnapshotFrame | Record](256)
        stream = EventStream(receive)
        following = Following(self._url, self._headers, session_id, after, patience, send)
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(following.run, stream)
            with receive:
                try:
                    yield stream
                except Exception as error:
                    # Kept out of the group, which would wrap it: callers catch what they raised or what `receive` did.
                    failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _get(self, model: type[Model], path: str, **query: str | int | None) -> Model:
        return _parsed(model, await self._send("GET", path, query=query))

    async def _post(
        self,
        model: type[Model],
        path: str,
        body: BaseModel | None = None,
        key: str | None = None,
    ) -> Model:
        return _parsed(model, await self._send("POST", path, body, key=key))

    async def _send(
        self,
        method: str,
        path: str,
        body: BaseModel | None = None,
        *,
        query: Mapping[str, str | int | None] | None = None,
        key: str | None = None,
        also: int | None = None,
    ) -> httpx2.Response:
        """The answer, where it is one of success or has the status `also`."""
        content = None if body is None else body.model_dump_json(exclude_unset=True)
        headers = {"Content-Type": "application/json"} if content else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        params = {name: str(value) for name, value in (query or {}).items() if value is not None}
        try:
            response = await self._http.request(method, path, content=content, headers=headers, params=params)
        except httpx2.TimeoutException as error:
            raise Unavailable(f"the host at {self._url} does not answer", code=UNREACHABLE) from error
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise Unavailable(f"no host answers at {self._url}", code=UNREACHABLE) from error
        if response.status_code >= 400 and response.status_code != also:
            raise error_of(response.status_code, response.content)
        return response


def _path(*parts: str) -> str:
    return "/api/" + "/".join(quote(part, safe="") for part in parts)


def _parsed(model: type[Model], response: httpx2.Response) -> Model:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise CoderError("the host's answer is not understood; do client and host have the same version?") from error
