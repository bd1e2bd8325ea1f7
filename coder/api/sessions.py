"""Routes of sessions, and of the agents that live in them."""

from coder.api.operations import Call, Nothing, command, read
from coder.api.queries import CloseQuery, PageQuery, SomeId
from coder.host import Host
from coder.model.sessions import AgentSession, Session
from coder.protocol import NewSession, Page, SessionPatch


class SessionsQuery(PageQuery):
    project_id: SomeId | None = None


async def list_sessions(host: Host, call: Call[Nothing, SessionsQuery]) -> Page[Session]:
    return await host.sessions.list(call.query.project_id, call.query.cursor, call.query.limit)


async def open_session(host: Host, call: Call[NewSession, Nothing]) -> Session:
    return await host.sessions.open(call.body.project_id, call.body.name, call.body.base_ref)


async def get_session(host: Host, call: Call[Nothing, Nothing]) -> Session:
    return await host.sessions.get(call.path["id"])


async def patch_session(host: Host, call: Call[SessionPatch, Nothing]) -> Session:
    return await host.sessions.patch(call.path["id"], call.body)


async def close_session(host: Host, call: Call[Nothing, CloseQuery]) -> None:
    await host.sessions.close(call.path["id"], force=call.query.force, keep_branch=call.query.keep_branch)


async def list_agents(host: Host, call: Call[Nothing, Nothing]) -> Page[AgentSession]:
    return Page(items=await host.sessions.agent_sessions(call.path["id"]))


async def warm_agent(host: Host, call: Call[Nothing, Nothing]) -> AgentSession:
    return await host.dispatcher.warm(call.path["id"], call.path["agent"])


async def close_agent(host: Host, call: Call[Nothing, Nothing]) -> None:
    await host.sessions.get(call.path["id"])
    await host.pool.close(call.path["id"], call.path["agent"])


routes = [
    read(
        "/api/sessions",
        list_sessions,
        "List sessions",
        tag="sessions",
        query=SessionsQuery,
        answer=Page[Session],
    ),
    command(
        "POST",
        "/api/sessions",
        open_session,
        "Open a session; answers when its worktree is ready",
        tag="sessions",
        body=NewSession,
        query=Nothing,
        answer=Session,
        status=201,
    ),
    read("/api/sessions/{id}", get_session, "One session", tag="sessions", query=Nothing, answer=Session),
    command(
        "PATCH",
        "/api/sessions/{id}",
        patch_session,
        "Rename a session",
        tag="sessions",
        body=SessionPatch,
        query=Nothing,
        answer=Session,
        status=200,
    ),
    command(
        "DELETE",
        "/api/sessions/{id}",
        close_session,
        "Close a session; unsaved work is refused unless forced",
        tag="sessions",
        body=Nothing,
        query=CloseQuery,
        answer=type(None),
        status=204,
    ),
    read(
        "/api/sessions/{id}/agent-sessions",
        list_agents,
        "The agents of a session",
        tag="sessions",
        query=Nothing,
        answer=Page[AgentSession],
    ),
    command(
        "POST",
        "/api/sessions/{id}/agent-sessions/{agent}/warm",
        warm_agent,
        "Start an agent before it is asked for anything",
        tag="sessions",
        body=Nothing,
        query=Nothing,
        answer=AgentSession,
        status=200,
    ),
    command(
        "DELETE",
        "/api/sessions/{id}/agent-sessions/{agent}",
        close_agent,
        "End an agent of a session",
        tag="sessions",
        body=Nothing,
        query=Nothing,
        answer=type(None),
        status=204,
    ),
]
