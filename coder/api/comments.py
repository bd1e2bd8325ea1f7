"""Routes of comments: threads on lines of changes, and the review that they are sent as."""

from coder.api.operations import Call, Nothing, command, read
from coder.api.queries import PageQuery
from coder.host import Host
from coder.model.comments import Comment, CommentStatus
from coder.model.tasks import Task
from coder.protocol import CommentPatch, NewComment, NewReply, Page, Review


class CommentsQuery(PageQuery):
    status: CommentStatus | None = None


async def list_comments(host: Host, call: Call[Nothing, CommentsQuery]) -> Page[Comment]:
    return await host.comments.list(call.path["id"], call.query.status, call.query.cursor, call.query.limit)


async def get_comment(host: Host, call: Call[Nothing, Nothing]) -> Comment:
    return await host.comments.get(call.path["id"])


async def begin_comment(host: Host, call: Call[NewComment, Nothing]) -> Comment:
    return await host.comments.begin(call.path["id"], call.body, call.by)


async def reply_to_comment(host: Host, call: Call[NewReply, Nothing]) -> Comment:
    return await host.comments.reply(call.path["id"], call.body.body, call.by)


async def settle_comment(host: Host, call: Call[CommentPatch, Nothing]) -> Comment:
    return await host.comments.settle(call.path["id"], CommentStatus(call.body.status), call.by)


async def send_review(host: Host, call: Call[Review, Nothing]) -> Task:
    return await host.comments.review(call.path["id"], call.body)


routes = [
    read(
        "/api/sessions/{id}/comments",
        list_comments,
        "The comments of a session",
        tag="comments",
        query=CommentsQuery,
        answer=Page[Comment],
    ),
    command(
        "POST",
        "/api/changes/{id}/comments",
        begin_comment,
        "Comment on a line of a pending change",
        tag="comments",
        body=NewComment,
        query=Nothing,
        answer=Comment,
        status=201,
    ),
    read("/api/comments/{id}", get_comment, "One comment", tag="comments", query=Nothing, answer=Comment),
    command(
        "PATCH",
        "/api/comments/{id}",
        settle_comment,
        "Resolve a comment or open it again",
        tag="comments",
        body=CommentPatch,
        query=Nothing,
        answer=Comment,
        status=200,
    ),
    command(
        "POST",
        "/api/comments/{id}/replies",
        reply_to_comment,
        "Reply to a comment: answers with the whole thread",
        tag="comments",
        body=NewReply,
        query=Nothing,
        answer=Comment,
        status=201,
    ),
    command(
        "POST",
        "/api/sessions/{id}/review",
        send_review,
        "Send open comments to an agent as one prompt: answers with the task once it is stored",
        tag="comments",
        body=Review,
        query=Nothing,
        answer=Task,
        status=202,
    ),
]
