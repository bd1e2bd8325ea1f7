"""What pages of other origins are let do: show the pane in a frame, and follow it on another origin."""

import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx2
import orjson
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from coder.api.auth import access_rules
from coder.errors import HostConfigError
from coder.settings import load_settings
from coder.testing.harness import open_live_host
from tests.api.wire import JSON, good_headers, open_socket, send_raw


@pytest.mark.scenario("access: A ticket opens a socket from a listed origin")
async def test_a_ticket_opens_sockets_soon_and_nothing_else(tmp_path: Path, database_url: str):
    page, socket_url = "https://tools.example", "wss://live.example/api/ws"
    async with open_live_host(tmp_path, database_url, allowed_origins=(page,), socket_url=socket_url) as live:
        async with live.client() as client:
            assert (await client.health()).socket_url == socket_url
        reply = await send_raw(live.url, "POST", "/api/tickets", [*good_headers(live), JSON], b"{}")
        ticket = orjson.loads(reply.body)["ticket"]
        stale = replace(access_rules(live.host.settings, live.token), clock=lambda: time.time() - 31).new_ticket()[0]

        async def greeting(offered: str, headers: dict[str, str]) -> str:
            subprotocols = [Subprotocol("coder.v1"), Subprotocol(f"coder.ticket.{offered}")]
            async with open_socket(live, additional_headers=headers, subprotocols=subprotocols) as socket:
                with anyio.fail_after(5):
                    try:
                        return str(await socket.recv())
                    except ConnectionClosed as error:
                        return str(error.rcvd.code if error.rcvd else 0)

        assert "welcome" in await greeting(ticket, {"Origin": page, "Sec-Fetch-Site": "cross-site"})
        assert await greeting(ticket, {"Origin": "https://other.example"}) == "4403"
        assert await greeting(ticket, {}) == "4403"
        assert await greeting(stale, {"Origin": page}) == "4401"
        host = good_headers(live)[0]
        as_cookie = ("Cookie", f"coder_token_{urlsplit(live.url).port}={ticket}")
        as_bearer = ("Authorization", f"Bearer {ticket}")
        for proof in (as_cookie, as_bearer):
            assert (await send_raw(live.url, "GET", "/api/projects", [host, proof])).status == 401


@pytest.mark.scenario("access: A listed origin may show the pane in a frame")
async def test_frames_are_for_listed_origins_and_get_a_cookie_of_their_own(tmp_path: Path, database_url: str):
    page, socket_url = "https://tools.example:8443", "wss://live.example/api/ws"
    async with open_live_host(tmp_path, database_url, frame_origins=(page,), socket_url=socket_url) as live:
        reply = await send_raw(live.url, "GET", "/", good_headers(live))
        policy = reply.headers["content-security-policy"]
        assert f"frame-ancestors {page};" in policy
        assert "connect-src 'self' wss://live.example;" in policy
        assert "x-frame-options" not in reply.headers

        async def cookies(path: str, **body: object) -> list[str]:
            headers = {"Authorization": f"Bearer {live.token}"}
            async with httpx2.AsyncClient(base_url=live.url, headers=headers) as client:
                answer = await client.post(path, json=body)
            return [cookie.lower() for cookie in answer.headers.get_list("set-cookie")]

        (usual,) = await cookies("/api/login", token=live.token)
        assert "samesite=strict" in usual
        strict, framed = await cookies("/api/login", token=live.token, in_frame=True)
        assert "samesite=strict" in strict
        assert "secure; samesite=none; partitioned" in framed
        assert len([cookie for cookie in await cookies("/api/logout") if "max-age=0" in cookie]) == 2
    async with (
        open_live_host(tmp_path / "other", database_url) as live,
        httpx2.AsyncClient(base_url=live.url) as client,
    ):
        answer = await client.post("/api/login", json={"token": live.token, "in_frame": True})
        assert "none" not in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "setting",
    [
        {"frame_origins": "*"},
        {"frame_origins": "https://tools.example/page"},
        {"frame_origins": "https://tools.example;script-src"},
        {"socket_url": "https://live.example/api/ws"},
        {"socket_url": "wss://live.example/a b"},
        {"socket_url": "wss://live.example;x/"},
    ],
)
def test_what_stands_in_the_content_policy_is_checked(tmp_path: Path, setting: dict[str, str]):
    with pytest.raises(HostConfigError, match=next(iter(setting))):
        load_settings(home=tmp_path, **setting)
