"""Rows that tests start from, made through the store itself."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from asyncpg import Connection

from coder.model.changes import Change, ChangeStatus
from coder.model.events import Text
from coder.model.permissions import PermissionOption, PermissionRequest, PermissionStatus
from coder.model.sessions import AgentSession, AgentSessionStatus, Project, Session, SessionState
from coder.model.tasks import Task, TaskState
from coder.model.tool_calls import ToolCall
from coder.model.values import new_id, now
from coder.store import projects, sessions, tasks
from coder.store.database import Store, open_store
from coder.store.events import NewRecord
from coder.store.text import encode_model


@asynccontextmanager
async def connected_store(url: str, run_id: str = "run") -> AsyncGenerator[tuple[Store, Connection]]:
    """A store and one of its connections."""
    async with open_store(url, run_id=run_id) as store, store.connection() as connection:
        yield store, connection


def a_project(name: str = "project") -> Project:
    return Project(id=new_id("prj"), name=name, repo_path=f"/repos/{name}", default_branch="main", created_at=now())


async def open_session(c: Connection, project: Project | None = None) -> Session:
    """A session in state open, with a project of its own unless one is given."""
    project = project or await projects.insert(c, a_project(new_id("prj")))
    session = await sessions.insert(
        c, id=new_id("ses"), project_id=project.id, name="session", base_ref=None, created_at=now()
    )
    return await sessions.move(c, session.id, {SessionState.OPENING}, SessionState.OPEN)


def a_task(session: Session, input: str = "do it") -> Task:
    return Task(
        id=new_id("tsk"), session_id=session.id, agent="demo", input=input, state=TaskState.PENDING, created_at=now()
    )


async def queue(c: Connection, session: Session, *inputs: str) -> list[Task]:
    """Pending tasks, accepted in this order."""
    return [await tasks.insert(c, a_task(session, input)) for input in inputs]


async def claim(c: Connection, owner: str = "run", *, sent: bool = False) -> Task:
    """The next task, claimed, its prompt sent or not."""
    (task,) = await tasks.claim(c, owner)
    if not sent:
        return task
    return await tasks.mark_sent(c, task.id, task.attempt, seq=1, agent_session_id=None, message_id=None)


def records(first: int, *texts: str) -> list[NewRecord]:
    """Text records numbered from `first`."""
    return [NewRecord(first + n, now(), "demo", None, encode_model(Text(text=text))) for n, text in enumerate(texts)]


def a_change(session: Session, path: str) -> Change:
    return Change(
        id=new_id("chg"),
        session_id=session.id,
        task_id=None,
        agent="demo",
        file_path=path,
        operation="edit",
        base_blob="a" * 40,
        new_blob="b" * 40,
        base_mode="100644",
        new_mode="100644",
        added_lines=2,
        deleted_lines=1,
        status=ChangeStatus.PENDING,
        created_at=now(),
    )


def a_request(session: Session, task: Task | None = None) -> PermissionRequest:
    return PermissionRequest(
        id=new_id("prm"),
        session_id=session.id,
        task_id=task.id if task else None,
        agent="demo",
        tool_call=ToolCall(id="call", title="Write a file", kind="edit", input={"path": "a.txt"}),
        options=(PermissionOption(id="yes", name="Allow", kind="allow_once"),),
        status=PermissionStatus.PENDING,
        created_at=now(),
        expires_at=now() + timedelta(minutes=2),
    )


def an_agent_session(session: Session, status: AgentSessionStatus = AgentSessionStatus.IDLE) -> AgentSession:
    return AgentSession(
        session_id=session.id,
        agent="demo",
        backend="acp_warm",
        agent_session_id="theirs",
        server_port=4096,
        status=status,
        last_active_at=now(),
    )
