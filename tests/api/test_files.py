"""Files and drafts of a session over HTTP."""

from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from coder.testing.harness import LiveHost, open_live_host
from tests.api.wire import JSON, Reply, good_headers, open_test_session, send_raw


async def find(live: LiveHost, id: str, query: str, limit: int = 50) -> list[str]:
    reply = await send_raw(
        live.url, "GET", f"/api/sessions/{id}/files?query={quote(query)}&limit={limit}", good_headers(live)
    )
    assert reply.status == 200, reply.body
    return [item["path"] for item in orjson.loads(reply.body)["items"]]


async def folder(live: LiveHost, id: str, path: str) -> Reply:
    return await send_raw(live.url, "GET", f"/api/sessions/{id}/folder?path={quote(path)}", good_headers(live))


async def entries(live: LiveHost, id: str, path: str) -> list[str]:
    reply = await folder(live, id, path)
    assert reply.status == 200, reply.body
    return [each["path"] + "/" * (each["kind"] == "folder") for each in orjson.loads(reply.body)["entries"]]


async def read(live: LiveHost, id: str, path: str) -> Reply:
    return await send_raw(live.url, "GET", f"/api/sessions/{id}/file?path={quote(path)}", good_headers(live))


@pytest.mark.scenario("api: Files are found by letters of their names")
@pytest.mark.scenario("api: A folder is listed")
async def test_files_are_found_by_letters_of_their_names(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        worktree = Path(session.worktree_path or "")
        for name in ("src/store.py", "src/api/stored.py", "tests/test_shop.py", "build/store.py", ".gitignore"):
            (worktree / name).parent.mkdir(parents=True, exist_ok=True)
            (worktree / name).write_text("build/\n")
        assert await find(live, session.id, "store") == ["src/store.py", "src/api/stored.py"]
        assert (await find(live, session.id, "s t o"))[:2] == ["src/store.py", "src/api/stored.py"]
        assert await find(live, session.id, "tstshp") == ["tests/test_shop.py"]
        everything = await find(live, session.id, "")
        assert everything[:2] == [".gitignore", "README.md"]
        assert not [path for path in everything if path.startswith((".git/", "build/"))]
        assert await find(live, session.id, "", limit=1) == [".gitignore"]
        assert await entries(live, session.id, "") == ["data/", "src/", "tests/", ".gitignore", "README.md"]
        assert await entries(live, session.id, "src") == ["src/api/", "src/hello.py", "src/store.py"]
        assert await entries(live, session.id, "build") == []
        (worktree / "README.md").unlink()
        (worktree / "src/api/stored.py").unlink()
        assert await find(live, session.id, "readme") == []
        assert "README.md" not in await entries(live, session.id, "")
        for path, status in (("nothing", 404), ("..", 422), ("src/../../repo", 422), (".git", 422)):
            assert (await folder(live, session.id, path)).status == status, path


@pytest.mark.scenario("api: A file outside the worktree is not read")
async def test_a_path_that_leads_out_is_refused(tmp_path: Path, database_url: str):
    (tmp_path / "secret.txt").write_text("secret")
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        worktree = Path(session.worktree_path or "")
        (worktree / "link.txt").symlink_to(tmp_path / "secret.txt")
        (worktree / "binary").write_bytes(b"\0\1")
        for path in ("../../secret.txt", str(tmp_path / "secret.txt"), "link.txt", ".git", "binary", ""):
            reply = await read(live, session.id, path)
            assert reply.status == 422, path
            assert b"secret\n" not in reply.body
        assert (await read(live, session.id, "nothing.txt")).status == 404
        reply = await read(live, session.id, "README.md")
        assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert reply.body == (worktree / "README.md").read_bytes()


@pytest.mark.scenario("api: A draft is there for the next client")
async def test_a_draft_is_kept_and_goes_with_its_session(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        place, headers = f"/api/sessions/{session.id}/draft", [*good_headers(live), JSON]
        before = orjson.loads((await send_raw(live.url, "GET", place, headers)).body)
        assert before == {"session_id": session.id, "text": "", "updated_at": None}
        body = orjson.dumps({"text": "half a wish, \u202e"})
        written = orjson.loads((await send_raw(live.url, "PATCH", place, headers, body)).body)
        assert written["text"] == "half a wish, \u202e"
        assert orjson.loads((await send_raw(live.url, "GET", place, headers)).body) == written
        await client.close_session(session.id)
        assert (await send_raw(live.url, "GET", place, headers)).status == 404
