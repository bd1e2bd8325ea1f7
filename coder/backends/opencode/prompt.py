"""A prompt with its attachments as the parts that the server takes, and what a repository tells agents."""

import base64
import logging
from pathlib import Path

from coder.backends.base import PromptInput
from coder.backends.opencode.home import find_instructions
from coder.errors import CoderError, InvalidInput
from coder.model.tasks import Attachment
from coder.model.values import Json
from coder.worktrees.paths import open_root

logger = logging.getLogger(__name__)


def prompt_parts(input: PromptInput, *, takes_images: bool) -> list[Json]:
    """The parts of a prompt.

    Raises:
        InvalidInput: an attachment that the chosen model cannot take, or that is none.
    """
    return [{"type": "text", "text": input.text}, *file_parts(input, takes_images=takes_images)]


def file_parts(input: PromptInput, *, takes_images: bool) -> list[Json]:
    """The attachments alone. Raises InvalidInput as `prompt_parts` does."""
    return [_part(attachment, takes_images) for attachment in input.attachments]


def read_instructions(worktree: Path) -> str | None:
    """What the repository tells agents, in the server's own form; for a server that was not started with it. Blocks."""
    found = find_instructions(worktree)
    if found is None:
        return None
    try:
        with open_root(worktree) as root:
            return f"Instructions from: {found}\n{root.read_text(found.name)}"
    except CoderError as error:
        logger.warning("instructions not read: %s", error)
        return None


def _part(attachment: Attachment, takes_images: bool) -> Json:
    mime_type = attachment.mime_type
    if mime_type.startswith("image/") and not takes_images:
        raise InvalidInput(f"the chosen model takes no images: {attachment.name}", code="attachment_not_taken")
    return {"type": "file", "mime": mime_type, "filename": attachment.name, "url": _url(attachment)}


def _url(attachment: Attachment) -> str:
    if attachment.data is None:
        if attachment.uri is None:
            raise InvalidInput(f"attachment {attachment.name} has neither data nor a uri")
        return attachment.uri
    try:
        base64.b64decode(attachment.data, validate=True)
    except ValueError as error:
        raise InvalidInput(f"attachment {attachment.name} is not base64") from error
    return f"data:{attachment.mime_type};base64,{attachment.data}"
