"""An agent built on the official Python SDK: one permission, one file written through the client, one answer."""

import asyncio
from pathlib import Path
from typing import Any, cast

from acp import (
    PROTOCOL_VERSION,
    Agent,
    Client,
    InitializeResponse,
    NewSessionResponse,
    PromptResponse,
    run_agent,
    start_edit_tool_call,
    update_agent_message_text,
    update_tool_call,
)
from acp.schema import (
    AllowedOutcome,
    Implementation,
    PermissionOption,
    TextContentBlock,
    ToolCallUpdate,
)


class SdkAgent:
    """Says back what it was told once it has written a file."""

    def on_connect(self, conn: Client) -> None:
        self._client = conn

    async def initialize(self, protocol_version: int, **kwargs: Any) -> InitializeResponse:
        return InitializeResponse(
            protocol_version=PROTOCOL_VERSION,
            agent_info=Implementation(name="sdk-agent", title="SDK agent", version="1"),
        )

    async def new_session(self, cwd: str, **kwargs: Any) -> NewSessionResponse:
        self._cwd = cwd
        return NewSessionResponse(session_id="sdk-1")

    async def prompt(self, session_id: str, prompt: list[Any], **kwargs: Any) -> PromptResponse:
        path = str(Path(self._cwd) / "sdk.txt")
        call = start_edit_tool_call("edit-1", "Write sdk.txt", path, "from the SDK")
        await self._client.session_update(session_id, call)
        answer = await self._client.request_permission(
            options=[
                PermissionOption(option_id="go", name="Go", kind="allow_once"),
                PermissionOption(option_id="stop", name="Stop", kind="reject_once"),
            ],
            session_id=session_id,
            tool_call=ToolCallUpdate(tool_call_id="edit-1"),
        )
        assert isinstance(answer.outcome, AllowedOutcome)
        await self._client.write_text_file(content="from the SDK", path=path, session_id=session_id)
        await self._client.session_update(session_id, update_tool_call("edit-1", status="completed"))
        words = " ".join(block.text for block in prompt if isinstance(block, TextContentBlock))
        await self._client.session_update(session_id, update_agent_message_text(f"{words}: written"))
        return PromptResponse(stop_reason="end_turn")


if __name__ == "__main__":
    asyncio.run(run_agent(cast(Agent, SdkAgent())))
