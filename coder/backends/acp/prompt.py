"""A prompt with its attachments as the content blocks that the agent takes."""

import base64
from urllib.parse import quote

from coder.backends.acp.handshake import Introduction
from coder.backends.base import PromptInput
from coder.errors import InvalidInput
from coder.model.tasks import Attachment
from coder.model.values import Json


def prompt_blocks(input: PromptInput, agent: Introduction) -> list[Json]:
    """The blocks of `session/prompt`.

    Raises:
        InvalidInput: an attachment that this agent cannot take, or that is none.
    """
    blocks: list[Json] = [{"type": "text", "text": input.text}]
    return blocks + [_block(attachment, agent) for attachment in input.attachments]


def _block(attachment: Attachment, agent: Introduction) -> Json:
    mime_type, data = attachment.mime_type, attachment.data
    if data is None:
        if attachment.uri is None:
            raise InvalidInput(f"attachment {attachment.name} has neither data nor a uri")
        return {"type": "resource_link", "uri": attachment.uri, "name": attachment.name, "mimeType": mime_type}
    content = _decoded(attachment, data)
    if mime_type.startswith("image/") and agent.accepts_images:
        return {"type": "image", "mimeType": mime_type, "data": data}
    if mime_type.startswith("audio/") and agent.accepts_audio:
        return {"type": "audio", "mimeType": mime_type, "data": data}
    words = _as_text(content)
    uri = attachment.uri or f"attachment:///{quote(attachment.name)}"
    if agent.accepts_resources:
        body: dict[str, Json] = {"text": words} if words is not None else {"blob": data}
        return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, **body}}
    if words is not None:
        return {"type": "text", "text": f"{attachment.name}:\n{words}"}
    if attachment.uri is not None:
        return {"type": "resource_link", "uri": attachment.uri, "name": attachment.name, "mimeType": mime_type}
    raise InvalidInput(f"the agent does not take {mime_type}: {attachment.name}", code="attachment_not_taken")


def _decoded(attachment: Attachment, data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise InvalidInput(f"attachment {attachment.name} is not base64") from error


def _as_text(content: bytes) -> str | None:
    try:
        words = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in words else words
