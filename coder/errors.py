"""Every error the host raises on purpose: a stable code, whether a retry can help, and data.

No framework types here: `coder.api.errors` alone turns these into HTTP statuses and frames.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

UNREACHABLE = "host_unreachable"
"""The code of the error that a client raises when no host answers at the URL."""


class CoderError(Exception):
    """An expected failure. `code` is stable and part of the API; `str(error)` is for people."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, code: str | None = None, **fields: object) -> None:
        super().__init__(message)
        self._code = code
        self.fields: Mapping[str, object] = fields

    @property
    def stable_code(self) -> str:
        """The instance's own code when it was given one, else its class's."""
        return self._code or self.code


class InvalidInput(CoderError):
    """The request cannot be understood or breaks a rule (422)."""

    code = "invalid_input"


class MalformedBody(InvalidInput):
    """The body is not the JSON it should be (400)."""

    code = "malformed_body"


class UnsupportedMediaType(CoderError):
    """The body is not declared as what the route takes (415)."""

    code = "unsupported_media_type"


class TooSlow(CoderError):
    """The peer missed the deadline for sending or taking data (408, close code 4408)."""

    code = "too_slow"
    retryable = True


class TooLarge(CoderError):
    """The body, frame or file is over its limit (413)."""

    code = "too_large"


class HeadersTooLarge(TooLarge):
    """The request's line and headers are over their limit (431)."""

    code = "headers_too_large"


class TooMany(CoderError):
    """A limit on how many there may be at once, or in a while, is reached (429, close code 1013)."""

    code = "too_many"
    retryable = True


class NotAuthenticated(CoderError):
    """No valid token came with the request (401)."""

    code = "not_authenticated"


class Forbidden(CoderError):
    """The caller may not do this, or came from a host or origin that is not on the list (403)."""

    code = "forbidden"


class NotFound(CoderError):
    """No such object, or not one the caller may know of (404)."""

    code = "not_found"


class Conflict(CoderError):
    """The object is not in a state that allows this (409)."""

    code = "conflict"


class WrongState(Conflict):
    """A guarded state change found its row in another state."""

    code = "wrong_state"


class IdempotencyMismatch(Conflict):
    """An idempotency key came again with another body."""

    code = "idempotency_mismatch"


class MergeConflict(Conflict):
    """A change does not fit the files as they are; nothing was written. `conflicts` has the sides of `files`."""

    code = "merge_conflict"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        files: Sequence[str] = (),
        conflicts: Sequence[object] = (),
        **fields: object,
    ) -> None:
        super().__init__(message, code=code, files=list(files), conflicts=list(conflicts), **fields)
        self.files = frozenset(files)


class UnsavedWork(Conflict):
    """Closing would delete work that nobody has saved."""

    code = "unsaved_work"


class PathEscape(InvalidInput):
    """A path leaves its worktree."""

    code = "path_escape"

    def __init__(self, path: str) -> None:
        super().__init__(f"path escapes worktree: {path}", path=path)


class GitError(CoderError):
    """A git command failed; `stderr` holds its last words."""

    code = "git_failed"


class UnusableRepository(InvalidInput):
    """The path is not a repository that a worktree can be made from."""

    code = "unusable_repository"


class AgentError(CoderError):
    """An agent could not be started, spoke nonsense, or died."""

    code = "agent_failed"
    retryable = True


class AgentUnavailable(AgentError):
    """The provider's program is missing, disabled or failing fast."""

    code = "agent_unavailable"


class AgentDied(AgentError):
    """The agent's process ended while it was needed."""

    code = "agent_died"


class AgentTimeout(AgentError):
    """The agent missed a deadline."""

    code = "agent_timeout"


class LineTooLong(AgentError):
    """The agent sent a line over the limit; `limit` in `fields` is in bytes."""

    code = "line_too_long"


class AuthRequired(AgentError):
    """The agent wants its own login first; `auth_methods` in `fields` lists how."""

    code = "auth_required"
    retryable = False


class AgentProtocolError(AgentError):
    """The agent answered with an error or broke the protocol; the foreign error is in `fields`."""

    code = "agent_protocol"


class Unavailable(CoderError):
    """The host cannot do this now: database away, shutting down, too many (503)."""

    code = "unavailable"
    retryable = True


class DatabaseAway(Unavailable):
    """The database does not answer. Whether the last commit happened is not known."""


class HostConfigError(CoderError):
    """The host cannot start as it is set up; the message says what to change."""

    code = "host_config"
