"""Permission requests: an agent asks, a person answers with one of the agent's own options."""

from enum import StrEnum
from typing import Literal

from coder.model.tool_calls import ToolCall
from coder.model.values import Time, Value

OptionKind = Literal["allow_once", "allow_always", "reject_once", "reject_always", "other"]


class PermissionOption(Value):
    """One answer. `covers` is what it will be taken for from now on; empty where the agent does not tell."""

    id: str
    name: str
    kind: OptionKind
    covers: tuple[str, ...] = ()


class PermissionStatus(StrEnum):
    PENDING = "pending"
    SELECTED = "selected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class PermissionRequest(Value):
    id: str
    session_id: str
    task_id: str | None
    agent: str
    tool_call: ToolCall
    options: tuple[PermissionOption, ...]
    status: PermissionStatus
    option_id: str | None = None
    created_at: Time
    expires_at: Time
    decided_at: Time | None = None
    decided_by: str | None = None


class PermissionOutcome(Value):
    """How a request ended: `option_id` only when one was selected."""

    status: PermissionStatus
    option_id: str | None = None
    decided_by: str | None = None
