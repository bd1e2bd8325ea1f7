"""Commands about comments on lines of changes, and the review that they are sent as."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from coder.client import Client
from coder.commands.calls import all_pages, call, text_of, valid
from coder.commands.prompts import ENDINGS
from coder.commands.reach import FAILED, JsonFlag, group
from coder.commands.shown import show, show_one
from coder.model.comments import Comment, CommentStatus, Side
from coder.model.tasks import TaskState
from coder.protocol import NewComment, NewReply, Review
from coder.terminal.text import visible_line
from coder.terminal.turns import Turn

commands = group()


@commands.command(name="comment")
def begin_comment(
    context: typer.Context,
    change: Annotated[str, typer.Argument(help="The change's id.")],
    text: Annotated[list[str], typer.Argument(help="What is to be said; - reads standard input.")],
    line: Annotated[int, typer.Option(help="The number of the line, from 1.")],
    side: Annotated[Side, typer.Option(help="The text before the change (base) or after it (new).")] = "new",
    as_json: JsonFlag = False,
) -> None:
    """Comment on a line of a pending change."""
    wish = valid(NewComment, body=text_of(text).strip(), line=line, side=side)
    comment = call(context, lambda client: client.begin_comment(change, wish.line, wish.body, side=wish.side))
    show_one(as_json, comment, comment.id)


@commands.command(name="comments")
def list_comments(
    context: typer.Context,
    session: str,
    everything: Annotated[bool, typer.Option("--all", help="Settled ones too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """The open comments of a session."""
    wanted = None if everything else CommentStatus.OPEN
    found = call(context, lambda client: all_pages(lambda cursor: client.comments(session, wanted, cursor)))
    show(as_json, found, ("ID", "STATUS", "PLACE", "COMMENT"), _comment_row)


@commands.command(name="reply")
def reply_to_comment(
    context: typer.Context,
    comment: Annotated[str, typer.Argument(help="The comment's id.")],
    text: Annotated[list[str], typer.Argument(help="What is to be said; - reads standard input.")],
    as_json: JsonFlag = False,
) -> None:
    """Reply to a comment."""
    wish = valid(NewReply, body=text_of(text).strip())
    found = call(context, lambda client: client.reply_to_comment(comment, wish.body))
    show_one(as_json, found, found.replies[-1].id)


@commands.command(name="resolve")
def settle_comment(
    context: typer.Context,
    comment: Annotated[str, typer.Argument(help="The comment's id.")],
    reopen: Annotated[bool, typer.Option("--reopen", help="Open it again.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Settle a comment, or open it again."""
    act = Client.reopen_comment if reopen else Client.resolve_comment
    found = call(context, lambda client: act(client, comment))
    show_one(as_json, found, f"{found.status} {visible_line(found.file_path)}:{found.line}")


@commands.command(name="review")
def send_review(
    context: typer.Context,
    session: str,
    agent: Annotated[str, typer.Option(help="Who is to go through the comments.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]", help="What else to say; - reads it.")] = None,
    comment: Annotated[list[str] | None, typer.Option(help="Only this comment; may be given again.")] = None,
    allow: Annotated[bool, typer.Option("--allow", help="Allow whatever the agent asks.")] = False,
    deny: Annotated[bool, typer.Option("--deny", help="Refuse whatever the agent asks.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Send the open comments of a session to an agent as one prompt, and show the turn."""
    turn = Turn(allow=allow, deny=deny, as_json=as_json)
    wish = valid(Review, agent=agent, comments=comment or None, input=text_of(words) if words else None)

    async def run(client: Client) -> TaskState:
        begin = partial(client.review, session, agent, comments=wish.comments, input=wish.input)
        return await turn.follow(client, session, begin)

    raise typer.Exit(ENDINGS.get(call(context, run), FAILED))


def _comment_row(comment: Comment) -> Sequence[str]:
    replies = f" (+{len(comment.replies)})" if comment.replies else ""
    return (comment.id, comment.status, f"{comment.file_path}:{comment.line}", comment.body + replies)
