"""Comments: threads on lines of changes, followed as the lines move, and sent to an agent as one review."""

import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import chain
from typing import Protocol

from coder.errors import Conflict, GitError, InvalidInput, NotFound, WrongState
from coder.journal import Commit, Journal
from coder.model.changes import Change, ChangeStatus
from coder.model.comments import HOST, Anchor, Comment, CommentStatus, Reply, Side
from coder.model.events import CommentUpdated
from coder.model.tasks import Task
from coder.model.values import new_id, now
from coder.protocol import INPUT_LIMIT, NewComment, NewTask, Page, Review
from coder.store import changes, comments, sessions
from coder.store.database import Store
from coder.workspaces import Workspace, Workspaces
from coder.worktrees.anchors import Lines, anchor_at, find
from coder.worktrees.shadow import Shadow
from coder.worktrees.texts import Blob, blob_size, blobs_at, read_lines

logger = logging.getLogger(__name__)

OPEN_LIMIT = 200
"""Open threads of one session."""
REPLY_LIMIT = 50
"""Replies of one thread."""
CHANGED = "the lines have changed"
UNREADABLE = "the file cannot be read as text any more"


class Submit(Protocol):
    """Accepts a prompt; `within` is called in the transaction that makes its task."""

    async def __call__(self, wish: NewTask, *, within: Callable[[Commit, Task], Awaitable[None]]) -> Task: ...


class Comments:
    """Threads of all sessions. `submit` is what a review is sent with."""

    def __init__(self, store: Store, journal: Journal, workspaces: Workspaces, submit: Submit) -> None:
        self._store = store
        self._journal = journal
        self._workspaces = workspaces
        self._submit = submit

    async def get(self, id: str) -> Comment:
        """Raises NotFound."""
        async with self._store.connection() as connection:
            return await comments.get(connection, id)

    async def list(
        self, session_id: str, status: CommentStatus | None, cursor: str | None, limit: int
    ) -> Page[Comment]:
        """Threads of a session, newest first. Raises NotFound."""
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            return await comments.list_page(connection, session_id, status=status, after=cursor, limit=limit)

    async def begin(self, change_id: str, wish: NewComment, by: str) -> Comment:
        """A thread on a line of a pending change.

        Raises:
            NotFound: no such change. WrongState: it is decided. Conflict: the session has too many open threads.
            InvalidInput: the change has no such side or line, or the file is not text or too large.
        """
        change = await self._pending(change_id)
        async with self._workspaces.hold(change.session_id) as held:
            change = await self._pending(change_id)
            blob, anchor = await _anchor(held.shadow, change, wish.side, wish.line)
            async with self._journal.commit(change.session_id) as commit:
                if await comments.count_open(commit.connection, change.session_id) >= OPEN_LIMIT:
                    raise Conflict(f"a session has at most {OPEN_LIMIT} open comments", code="too_many_comments")
                comment = Comment(
                    **dict(anchor),
                    id=new_id("cmt"),
                    session_id=change.session_id,
                    change_id=change.id,
                    file_path=change.file_path,
                    blob=blob,
                    body=wish.body,
                    by=by,
                    created_at=now(),
                )
                return _told(commit, await comments.insert(commit.connection, comment))

    async def reply(self, id: str, body: str, by: str) -> Comment:
        """The thread with one reply more. Raises NotFound; Conflict: it has too many."""
        comment = await self.get(id)
        async with self._journal.commit(comment.session_id) as commit:
            if len((await comments.get(commit.connection, id)).replies) >= REPLY_LIMIT:
                raise Conflict(f"a comment has at most {REPLY_LIMIT} replies", code="too_many_replies")
            reply = Reply(id=new_id("cmt"), thread_id=id, body=body, by=by, created_at=now())
            return _told(commit, await comments.add_reply(commit.connection, reply))

    async def settle(self, id: str, status: CommentStatus, by: str) -> Comment:
        """Resolve a thread or open it again. Raises NotFound; WrongState: it is so already."""
        comment = await self.get(id)
        async with self._journal.commit(comment.session_id) as commit:
            return _told(commit, await comments.set_status(commit.connection, id, status, by=by))

    async def review(self, session_id: str, wish: Review) -> Task:
        """One prompt of the chosen threads, or of all open ones of which the agent has not been told everything.

        The threads are marked as sent in the transaction that makes the task.

        Raises:
            NotFound: no such session, comment or agent. WrongState: a chosen one is not open, or was sent meanwhile.
            InvalidInput: there is nothing to send, or more than fits a prompt. And what submitting raises.
        """
        chosen = await self._chosen(session_id, wish)
        if not chosen:
            raise InvalidInput("no open comment waits to be sent", code="no_open_comments")
        text = review_prompt(chosen, wish.input)
        if len(text) > INPUT_LIMIT:
            raise InvalidInput(f"the review is over {INPUT_LIMIT} characters; send fewer comments", code="too_long")

        async def mark(commit: Commit, task: Task) -> None:
            for comment in chosen:
                _told(commit, await comments.mark_sent(commit.connection, comment, task.id, task.created_at))

        return await self._submit(NewTask(session_id=session_id, agent=wish.agent, input=text), within=mark)

    async def _pending(self, change_id: str) -> Change:
        async with self._store.connection() as connection:
            change = await changes.get(connection, change_id)
        if change.status is not ChangeStatus.PENDING:
            raise WrongState(f"the change is {change.status}; comments go on pending ones", status=change.status)
        return change

    async def _chosen(self, session_id: str, wish: Review) -> Sequence[Comment]:
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            if wish.comments is None:
                return await comments.unsent(connection, session_id, wish.agent)
            found = await comments.read(connection, wish.comments)
        ours = {comment.id for comment in found if comment.session_id == session_id}
        if missing := [id for id in wish.comments if id not in ours]:
            raise NotFound(f"no such comment in this session: {missing[0]}", noun="comment", id=missing[0])
        if settled := [comment for comment in found if comment.status is not CommentStatus.OPEN]:
            raise WrongState(f"comment {settled[0].id} is {settled[0].status}", id=settled[0].id)
        return found


async def follow(commit: Commit, workspace: Workspace, *, base: str | None = None, new: str | None = None) -> None:
    """Bring open threads to where their lines are in the session's trees; None is a tree that is as it was.

    To be called in the commit that makes a base or a snapshot the session's present one, after its changes are
    recorded. A thread whose line is gone is resolved.
    """
    shadow, session_id = workspace.shadow, workspace.session_id
    trees: dict[Side, str] = {side: tree for side, tree in _sides(base, new) if tree is not None}
    threads = [each for each in await comments.open_threads(commit.connection, session_id) if each.side in trees]
    if not threads:
        return
    pending = await changes.pending(commit.connection, session_id)
    paths = {thread.id: _present_path(thread, pending) for thread in threads}
    try:
        blobs = await _present_blobs(shadow, threads, paths, pending, trees)
        fresh = {blob for thread in threads if (blob := blobs[thread.id]) is not None and blob.id != thread.blob}
        texts = await read_lines(shadow, fresh)
    except GitError:
        logger.exception("comments stay where they were", extra={"session": session_id})
        return
    for thread in threads:
        moved = await _follow_one(commit, thread, paths[thread.id], blobs[thread.id], texts)
        if moved is not None:
            _told(commit, moved)


async def _follow_one(
    commit: Commit, thread: Comment, path: str, blob: Blob | None, texts: Mapping[str, Lines | None]
) -> Comment | None:
    """The thread after its move, None where it is where it was."""
    c = commit.connection
    if blob is None:
        return await comments.set_status(c, thread.id, CommentStatus.RESOLVED, by=HOST, reason=CHANGED)
    if blob.id == thread.blob:
        return None if path == thread.file_path else await comments.move(c, thread.id, path, thread, blob.id)
    text = texts[blob.id]
    if text is None:
        status = CommentStatus.OUTDATED
        return await comments.set_status(c, thread.id, status, by=HOST, reason=UNREADABLE, blob=blob.id)
    line = find(thread, text)
    if line is None:
        status = CommentStatus.RESOLVED
        return await comments.set_status(c, thread.id, status, by=HOST, reason=CHANGED, blob=blob.id)
    return await comments.move(c, thread.id, path, anchor_at(text, thread.side, line), blob.id)


def _sides(base: str | None, new: str | None) -> Sequence[tuple[Side, str | None]]:
    return ("base", base), ("new", new)


def _present_path(thread: Comment, pending: Sequence[Change]) -> str:
    """The path that the thread's file goes by now: its own, unless it has been renamed."""
    if any(change.file_path == thread.file_path for change in pending):
        return thread.file_path
    return next((change.file_path for change in pending if change.old_path == thread.file_path), thread.file_path)


async def _present_blobs(
    shadow: Shadow,
    threads: Sequence[Comment],
    paths: Mapping[str, str],
    pending: Sequence[Change],
    trees: Mapping[Side, str],
) -> dict[str, Blob | None]:
    """What each thread's side of its file is now, by the thread's id; None where there is no file."""
    old_paths = {change.file_path: change.old_path for change in pending}
    found: dict[str, Blob | None] = {}
    for side, tree in trees.items():
        places = {
            thread.id: (old_paths.get(paths[thread.id]) if side == "base" else None) or paths[thread.id]
            for thread in threads
            if thread.side == side
        }
        blobs = await blobs_at(shadow, tree, set(places.values()))
        found.update({id: blobs.get(path) for id, path in places.items()})
    return found


async def _anchor(shadow: Shadow, change: Change, side: Side, line: int) -> tuple[str, Anchor]:
    blob = change.base_blob if side == "base" else change.new_blob
    if blob is None:
        raise InvalidInput(f"this change is a {change.operation}: it has no {side} side", code="no_such_side")
    is_file = (change.base_mode if side == "base" else change.new_mode) in ("100644", "100755")
    text: Lines | None = None
    if is_file and not change.is_binary:
        text = (await read_lines(shadow, [Blob(blob, await blob_size(shadow, blob))]))[blob]
    if text is None:
        raise InvalidInput("the file is not text, or too large for comments on its lines", code="not_text")
    try:
        return blob, anchor_at(text, side, line)
    except IndexError as error:
        count = len(text.lines)
        raise InvalidInput(f"the {side} side has {count} lines", code="no_such_line", lines=count) from error


def _told(commit: Commit, comment: Comment) -> Comment:
    commit.append(CommentUpdated(comment=comment))
    return comment


def review_prompt(threads: Collection[Comment], words: str | None) -> str:
    """The threads, by file and line, each with the lines it is about, and then what else the person says."""
    ordered = sorted(threads, key=lambda thread: (thread.file_path, thread.side, thread.line, thread.id))
    count = "a comment" if len(ordered) == 1 else f"{len(ordered)} comments"
    parts = [f"Your changes were reviewed: {count}. Please go through all of them."]
    parts += [_section(number, thread) for number, thread in enumerate(ordered, 1)]
    return "\n\n".join([*parts, words] if words else parts)


def _section(number: int, thread: Comment) -> str:
    name = thread.file_path.replace("\r", "\\r").replace("\n", "\\n")
    side = " (as it was before the change)" if thread.side == "base" else ""
    said = chain([thread.body], (f"Reply: {reply.body}" for reply in thread.replies))
    return "\n\n".join([f"{number}. {name}:{thread.line}{side}\n{_quoted(thread)}", *said])


def _quoted(thread: Comment) -> str:
    """The line between its neighbours, marked, in a fence that nothing in it can close."""
    first = thread.line - len(thread.before)
    lines = (*thread.before, thread.text, *thread.after)
    width = len(str(first + len(lines) - 1))
    fence = "`" * max(3, 1 + max((len(run) for line in lines for run in re.findall("`+", line)), default=0))
    marked = (f"{'>' if at == thread.line else ' '} {at:>{width}} | {line}" for at, line in enumerate(lines, first))
    return "\n".join([fence, *marked, fence])
