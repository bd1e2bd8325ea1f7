"""A prompt with its attachments as the parts that the server takes."""

import base64
import binascii

from coder.backends.base import PromptInput
from coder.errors import InvalidInput
from coder.model.tasks import Attachment
from coder.model.values import Json


def prompt_parts(input: PromptInput, *, takes_images: bool) -> list[Json]:
    """The parts of a prompt.

    Raises:
        InvalidInput: an attachment that the chosen model cannot take, or that is none.
    """
    return [{"type": "text", "text": input.text}, *file_parts(input, takes_images=takes_images)]


def file_parts(input: PromptInput, *, takes_images: bool) -> list[Json]:
    """The attachments alone. Raises InvalidInput as `prompt_parts` does."""
    return [_part(attachment, takes_images) for attachment in input.attachments]


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
    except binascii.Error as error:
        raise InvalidInput(f"attachment {attachment.name} is not base64") from error
    return f"data:{attachment.mime_type};base64,{attachment.data}"
