"""Comments: threads on lines of a change, kept where the lines go."""

from enum import StrEnum
from typing import Literal

from coder.model.values import Time, Value

Side = Literal["base", "new"]
"""The base's text of a file, or the text that the worktree holds."""

HOST = "host"
"""Who resolves a thread whose lines have changed."""


class CommentStatus(StrEnum):
    """`outdated`: the file is no text any more, or too large, so the host cannot tell where the line went."""

    OPEN = "open"
    RESOLVED = "resolved"
    OUTDATED = "outdated"


COMMENT_TRANSITIONS: dict[CommentStatus, frozenset[CommentStatus]] = {
    CommentStatus.OPEN: frozenset({CommentStatus.RESOLVED, CommentStatus.OUTDATED}),
    CommentStatus.RESOLVED: frozenset({CommentStatus.OPEN}),
    CommentStatus.OUTDATED: frozenset({CommentStatus.OPEN, CommentStatus.RESOLVED}),
}


class Anchor(Value):
    """A line of one side of a file, from 1, by its text and the lines around it; long lines are cut."""

    side: Side
    line: int
    text: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Reply(Value):
    id: str
    thread_id: str
    body: str
    by: str
    created_at: Time


class Comment(Anchor):
    """A thread: what was said about a line, and the replies in their order.

    `change_id` is the change it was made on. `line` is where the line was last found, `blob` the newest text that it
    was looked for in. `task_id` is the prompt it was last sent with, then with the first `sent_replies` replies.
    """

    id: str
    session_id: str
    change_id: str
    file_path: str
    blob: str
    body: str
    by: str
    status: CommentStatus = CommentStatus.OPEN
    replies: tuple[Reply, ...] = ()
    created_at: Time
    resolved_at: Time | None = None
    resolved_by: str | None = None
    reason: str | None = None
    task_id: str | None = None
    sent_at: Time | None = None
    sent_replies: int = 0
