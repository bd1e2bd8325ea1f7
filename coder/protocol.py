"""Frames and bodies on the wire: thin wrappers over model values. WebSocket subprotocol `coder.v1`."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field, TypeAdapter

from coder.model.branches import CommitWhat, OnConflict, UpdateHow
from coder.model.changes import Change, Target
from coder.model.comments import Comment, Side
from coder.model.events import Record
from coder.model.permissions import PermissionRequest
from coder.model.pool import PoolTotals, SpareTotals
from coder.model.providers import ProviderSnapshot
from coder.model.sessions import AgentSession, Session
from coder.model.setups import Setup
from coder.model.tasks import Attachment, Task
from coder.model.values import Input, Json, Time, Value

Item = TypeVar("Item")

SUBPROTOCOL = "coder.v1"
DRAINING = "draining"
"""Code of the error frame that says that the host is stopping; the socket stays open while running turns end."""
STILL = "host_stalled"
"""Code of the error frame that says that nothing went on for a while; nothing was lost, and it goes on now."""
PROTOCOL_VERSION = 1

INPUT_LIMIT = 256 * 1024
"""Characters in one prompt."""

Id = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


# Bodies of HTTP commands


class NewProject(Input):
    name: Name | None = None
    repo_path: Annotated[str, Field(min_length=1, max_length=4096)]


class ProjectPatch(Input):
    name: Name


class NewSession(Input):
    project_id: Id
    name: Name | None = None
    base_ref: Annotated[str, Field(min_length=1, max_length=1024)] | None = None


class SessionPatch(Input):
    name: Name | None = None
    auto_apply: bool | None = None


class DraftPatch(Input):
    text: Annotated[str, Field(max_length=INPUT_LIMIT)]


class Prompt(Input):
    """What one turn is asked for."""

    agent: Id
    input: Annotated[str, Field(min_length=1, max_length=INPUT_LIMIT)]
    model: Id | None = None
    mode_id: Id | None = None
    thinking_option_id: Id | None = None
    feature_values: dict[str, Json] = {}
    attachments: tuple[Attachment, ...] = ()
    when: Literal["queue", "steer", "interrupt"] = "queue"
    """While a turn runs: wait for its end; become part of it, where the agent takes input during a turn, else wait; or
    cancel it and go next."""


class NewTask(Prompt):
    session_id: Id
    parent_task_id: Id | None = None


class TaskPatch(Input):
    """For a task that waits. `before` is another waiting task of its session, null for the end of the queue."""

    input: Annotated[str, Field(min_length=1, max_length=INPUT_LIMIT)] | None = None
    before: Id | None = None
    when: Literal["queue", "steer", "interrupt"] = "queue"
    """While a turn runs: wait on; become part of it, where the agent takes input during a turn, else wait on; or cancel
    it and go next. A task that became part of a turn ends as cancelled, for the reason `steered`."""


class PermissionAnswer(Input):
    option_id: Id


class HunkLines(Input):
    """Some lines of a hunk: numbers into its `lines`, from 0. Only added and deleted lines count."""

    id: Id
    lines: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1, max_length=100_000)]


Hunks = Annotated[tuple[Id | HunkLines, ...], Field(min_length=1, max_length=10_000)]
Reason = Annotated[str, Field(max_length=4000)]


class ApplyChange(Input):
    """Without `hunks` the whole change; `target` is the project's checkout or a commit on the session's branch."""

    hunks: Hunks | None = None
    target: Target = "checkout"
    reason: Reason | None = None


class RejectChange(Input):
    """Without `hunks` the whole change. `reason` is told to the agent."""

    hunks: Hunks | None = None
    reason: Reason | None = None


class RevertChange(Input):
    reason: Reason | None = None


class RestoreCheckpoint(Input):
    reason: Reason | None = None


class ChosenChange(Input):
    id: Id
    hunks: Hunks | None = None


Chosen = Annotated[tuple[ChosenChange, ...], Field(min_length=1, max_length=50_000)]


class ApplyChanges(Input):
    """Without `changes` whatever is pending; all of it or nothing."""

    changes: Chosen | None = None
    target: Target = "checkout"
    reason: Reason | None = None


class RejectChanges(Input):
    """Without `changes` whatever is pending; all of it or nothing."""

    changes: Chosen | None = None
    reason: Reason | None = None


class SetupAction(Input):
    """Run the worktree's setup, also again; or let prompts go on without it."""

    action: Literal["run", "skip"]


class TrustSetup(Input):
    """`digest` is the SHA-256 of the setup file that may run, in hex."""

    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


CommentText = Annotated[str, Field(min_length=1, max_length=4000, pattern=r"\S")]


class NewComment(Input):
    """`line` is a number from 1 in the change's text of that side."""

    side: Side = "new"
    line: Annotated[int, Field(ge=1, lt=2**31)]
    body: CommentText


class NewReply(Input):
    body: CommentText


class CommentPatch(Input):
    status: Literal["open", "resolved"]


class Review(Input):
    """Without `comments`, every open one of which the agent has not been told everything. `input` comes after them."""

    agent: Id
    comments: Annotated[tuple[Id, ...], Field(min_length=1, max_length=1000)] | None = None
    input: Annotated[str, Field(min_length=1, max_length=INPUT_LIMIT)] | None = None


class NewCommit(Input):
    """`applied`: what was applied to the checkout; `all`: what the worktree holds, which applies what is pending."""

    message: Annotated[str, Field(min_length=1, max_length=64 * 1024, pattern=r"\S")]
    changes: CommitWhat = "applied"
    reason: Reason | None = None


class BranchIncoming(Input):
    """Bring the project's default branch in. `agent` is who resolves what clashes, where `on_conflict` says so."""

    how: UpdateHow = "merge"
    on_conflict: OnConflict = "abort"
    agent: Id | None = None


class ProviderPatch(Input):
    """By id: an override that replaces the stored one (or single fields of it), or null to remove it."""

    providers: dict[Id, dict[str, Json] | None]


class ProviderRefresh(Input):
    providers: tuple[Id, ...] | None = None


class Login(Input):
    """`in_frame`: the page stands in a page of another site, which asks for a cookie of its own kind."""

    token: Annotated[str, Field(min_length=1, max_length=512)]
    in_frame: bool = False


# Frames from the client


class Subscribe(Input):
    """`after` null asks for a snapshot. `epoch` is the one of the welcome that the number was learnt under."""

    type: Literal["subscribe"] = "subscribe"
    session_id: Id
    after: Annotated[int, Field(ge=0, le=2**53)] | None = None
    epoch: str | None = None


class Unsubscribe(Input):
    type: Literal["unsubscribe"] = "unsubscribe"
    session_id: Id


class PromptFrame(NewTask):
    type: Literal["prompt"] = "prompt"
    id: Id


class Cancel(Input):
    type: Literal["cancel"] = "cancel"
    id: Id
    task_id: Id


class PermissionFrame(PermissionAnswer):
    type: Literal["permission"] = "permission"
    id: Id
    request_id: Id


class Ping(Input):
    type: Literal["ping"] = "ping"


class Pong(Input):
    type: Literal["pong"] = "pong"


ClientFrame = Annotated[
    Subscribe | Unsubscribe | PromptFrame | Cancel | PermissionFrame | Ping | Pong, Field(discriminator="type")
]
client_frame: TypeAdapter[ClientFrame] = TypeAdapter(ClientFrame)


# Frames from the server


class Welcome(Value):
    """`epoch` names this run of the host; numbers learnt under another one may have been lost in a crash."""

    type: Literal["welcome"] = "welcome"
    protocol: int = PROTOCOL_VERSION
    version: str
    heartbeat_s: float
    epoch: str


class SnapshotFrame(Value):
    """A session as it stands at `seq`; `events` is its newest part, `has_more` says that older records exist."""

    type: Literal["snapshot"] = "snapshot"
    session_id: str
    seq: int
    session: Session
    agents: tuple[AgentSession, ...]
    tasks: tuple[Task, ...]
    permissions: tuple[PermissionRequest, ...]
    changes: tuple[Change, ...]
    setup: Setup | None = None
    comments: tuple[Comment, ...] = ()
    events: tuple[Record, ...]
    has_more: bool


class EventsFrame(Value):
    """All records that are ready, in order, no gap to the frame before."""

    type: Literal["events"] = "events"
    session_id: str
    records: tuple[Record, ...]


class Ack(Value):
    type: Literal["ack"] = "ack"
    id: str
    result: Task | PermissionRequest | None = None


class ErrorFrame(Value):
    """`id` names the command that failed, `session_id` the subscription that ended."""

    type: Literal["error"] = "error"
    id: str | None = None
    session_id: str | None = None
    code: str
    message: str
    retryable: bool


class Lagged(Value):
    """This viewer was too slow: subscribe again from `seq`."""

    type: Literal["lagged"] = "lagged"
    session_id: str
    seq: int


class PingFrame(Value):
    type: Literal["ping"] = "ping"


class PongFrame(Value):
    type: Literal["pong"] = "pong"


ServerFrame = Annotated[
    Welcome | SnapshotFrame | EventsFrame | Ack | ErrorFrame | Lagged | PingFrame | PongFrame,
    Field(discriminator="type"),
]
server_frame: TypeAdapter[ServerFrame] = TypeAdapter(ServerFrame)


class Page(Value, Generic[Item]):
    items: tuple[Item, ...]
    next: str | None = None


class ProviderPage(Page[ProviderSnapshot]):
    """Every provider, all their agents together, and how often sessions had been made ahead."""

    pool: PoolTotals
    spares: SpareTotals


class Problem(Value):
    """RFC 9457 problem details with a stable `code` and whether a retry can help."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    errors: tuple[dict[str, Json], ...] | None = None
    """One entry per field that is wrong: `loc`, `message`, `type`."""
    fields: dict[str, Json] | None = None
    """The error's own data: which files conflict, how to log in, and so on."""


class PoolHealth(Value):
    size: int
    warm: int
    leased: int
    limit: int


class Trouble(Value):
    """Why a host does not work as it should."""

    reason: Literal["database_away", "dispatcher_stopped", "journal_not_writing", "loop_stalled", "disk_nearly_full"]
    message: str


class Health(Value):
    """`degraded` has `troubles` and comes with status 503."""

    status: Literal["ok", "degraded", "draining"]
    version: str
    database: Literal["up", "down"]
    dispatcher: Literal["notify", "polling"]
    pool: PoolHealth
    socket_url: str | None
    """Where a browser finds the WebSocket; null where it is beside the API."""
    troubles: tuple[Trouble, ...] = ()


class SocketTicket(Value):
    """Opens one WebSocket soon, from an origin that cookies do not reach: offered as a subprotocol `coder.ticket.…`."""

    ticket: str
    expires_at: Time
