"""Words that a person has written into a session's prompt and not sent yet."""

from coder.model.values import Time, Value


class Draft(Value):
    """`updated_at` is null where nothing was ever kept."""

    session_id: str
    text: str = ""
    updated_at: Time | None = None
