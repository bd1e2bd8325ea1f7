"""Secrets planted wherever the host meets some, and looked for wherever it puts anything down."""

import json
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import asyncpg
import orjson
import pytest

from coder.api.operations import Operation
from coder.api.routes import all_operations
from coder.client import Client
from coder.errors import CoderError
from coder.model.sessions import Session
from coder.protocol import Prompt
from coder.testing.host_process import HostProcess, open_host_process
from coder.testing.ledgers import Viewer, processes_of, write_catalogue
from coder.testing.repositories import commit_files, git, make_repository
from tests.api.wire import JSON, path_of, send_raw

PLANTED = (
    "environment",
    "agent-environment",
    "database-password",
    "login-guess",
    "bearer-guess",
    "cookie-guess",
    "query-guess",
    "offer-guess",
    "remote-password",
    "git-header",
    "ignored-file",
    "prompt",
    "answer",
)
MAY_KEEP = {"database": {"prompt", "answer"}, "frames": {"prompt", "answer"}, "answers": {"prompt", "answer"}}
"""What was said belongs into the record of a session; nothing else belongs anywhere."""


async def work(client: Client, session: Session, canaries: dict[str, str]) -> None:
    """Turns of every end, and what a person does with their changes."""
    said = f"say {canaries['prompt']}; say {canaries['answer']}"
    for text in (f"{said}; write notes.txt x; edit README.md Sample => Example", "garbage; fail", f"{said}; die 3"):
        await client.wait_for_task((await client.prompt(session.id, Prompt(agent="demo", input=text))).id)
    first, *_ = (await client.changes(session.id)).items
    await client.begin_comment(first.id, 1, "why?")
    await client.apply_change(first.id)
    await client.reject_changes(session.id)
    await client.commit(session.id, "all of it", "all")


async def guess(host: HostProcess, canaries: dict[str, str]) -> None:
    """Come with secrets that are none here, and may be some elsewhere."""
    address = ("Host", urlsplit(host.url).netloc)
    port = urlsplit(host.url).port
    body = orjson.dumps({"token": canaries["login-guess"]})
    for path, headers, sent in (
        ("/api/login", [address, JSON], body),
        ("/api/projects", [address, JSON, ("Authorization", f"Bearer {canaries['bearer-guess']}")], b"{}"),
        ("/api/projects", [address, JSON, ("Cookie", f"coder_token_{port}={canaries['cookie-guess']}")], b"{}"),
        (f"/api/projects?token={canaries['query-guess']}", [address, JSON], b"{}"),
        (f"/api/ws?token={canaries['query-guess']}", [address], b""),
    ):
        assert (await send_raw(host.url, "POST" if sent else "GET", path, headers, sent)).status in (401, 404)
    offer = [address, ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    offer += [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
    offer += [("Sec-WebSocket-Protocol", f"coder.v1, coder.token.{canaries['offer-guess']}")]
    await send_raw(host.url, "GET", "/api/ws", offer)


async def everything_readable(host: HostProcess, client: Client, session: Session) -> bytes:
    """The answer of every reading route to every id there is."""
    ids = [session.id, session.project_id, "demo"]
    ids += [task.id for task in (await client.tasks(session.id)).items]
    ids += [change.id for change in (await client.changes(session.id)).items]
    headers = [("Host", urlsplit(host.url).netloc), ("Authorization", f"Bearer {host.token}")]

    async def read(operation: Operation, id: str) -> bytes:
        path = path_of(operation, id=id, agent="demo")
        return (await send_raw(host.url, "GET", path, headers)).body

    reads = [operation for operation in all_operations() if operation.method == "GET"]
    return b"".join([await read(one, id) for one in reads for id in (ids if "{id}" in one.path else ids[:1])])


async def dump(database_url: str) -> bytes:
    """Every row of every table as text."""
    connection = await asyncpg.connect(database_url)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [await connection.fetch(f"SELECT t::text AS row FROM {table['tablename']} t") for table in tables]
    await connection.close()
    return "\n".join(row["row"] for table in rows for row in table).encode()


def command_lines(host: HostProcess, home: Path) -> bytes:
    return b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (host.pid, *processes_of(home)))


@pytest.mark.scenario("access: Planted secrets are found nowhere")
async def test_planted_secrets_are_found_nowhere(tmp_path: Path, database_url: str) -> None:
    canaries = {name: f"canary{secrets.token_hex(12)}" for name in PLANTED}
    home, log = tmp_path / "home", tmp_path / "log"
    write_catalogue(home, DEMO_SECRET=canaries["agent-environment"])
    repository = make_repository(tmp_path / "repository")
    commit_files(repository, {".gitignore": ".env\n"})
    (repository / ".env").write_text(canaries["ignored-file"])
    git(repository, "remote", "add", "origin", f"https://me:{canaries['remote-password']}@example.invalid/x.git")
    git(repository, "config", "http.extraHeader", f"Authorization: {canaries['git-header']}")
    url = database_url.replace("coder@", f"coder:{canaries['database-password']}@")
    assert url != database_url
    environment = {"AWS_SECRET_ACCESS_KEY": canaries["environment"], "CODER_DATABASE_URL": url}
    with log.open("wb") as file:
        async with open_host_process(home, environment=environment, log=file) as host, host.client() as client:
            canaries["token"] = host.token
            project = await client.register_project(str(repository))
            session = await client.open_session(project.id)
            viewer = Viewer(session.id)
            async with anyio.create_task_group() as group:
                group.start_soon(viewer.follow, client)
                await guess(host, canaries)
                await work(client, session, canaries)
                await viewer.reached((await client.session(session.id)).last_seq)
                group.cancel_scope.cancel()
            places = {
                "commands": command_lines(host, home),
                "answers": await everything_readable(host, client, session),
                "frames": b"".join(record.model_dump_json().encode() for record in viewer.records),
                "export": await client.patch(session.id),
            }
            with pytest.raises(CoderError):
                await client.open_session("prj_nobody")
    places |= {"log": log.read_bytes(), "database": await dump(database_url)}
    assert all(places[name] for name in ("answers", "frames", "database", "commands")), json.dumps(list(places))
    found = {
        (name, place)
        for place, content in places.items()
        for name, canary in canaries.items()
        if canary.encode() in content and name not in MAY_KEEP.get(place, set())
    }
    assert found == set()
    assert canaries["answer"].encode() in places["database"], "the search finds what is there"
