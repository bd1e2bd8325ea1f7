"""Notes: what an agent is told of its files, before its next prompt, that happened without it."""

from collections.abc import Sequence

from coder.journal import Commit
from coder.model.changes import Change
from coder.model.decisions import Decision
from coder.model.events import HostNote
from coder.store import agent_sessions, changes, decisions

TOLD_FILES = 50
"""An agent is told of so many turned down files by name."""


async def tell(commit: Commit, session_id: str, agent: str) -> str | None:
    """What has happened to the agent's files without it, in one message; it counts as told with the commit."""
    news = await decisions.to_tell(commit.connection, session_id, agent)
    if not news:
        return None
    rejected = await changes.of_decisions(commit.connection, [decision.id for _, decision in news])
    await agent_sessions.set_told(commit.connection, session_id, agent, news[-1][0])
    note = _note_of([decision for _, decision in news], rejected)
    commit.append(HostNote(text=note), agent=agent)
    return note


def _note_of(news: Sequence[Decision], rejected: Sequence[Change]) -> str:
    lines = ["[Note from the host: files in this worktree were changed since your last turn.]"]
    reasons = {decision.id: decision.reason for decision in news}
    for change in rejected[:TOLD_FILES]:
        part = "part of your change was" if change.split_from else "your change was"
        reason = reasons.get(change.decision_id or "")
        extent = f"+{change.added_lines} -{change.deleted_lines} lines"
        lines.append(
            f"- {change.file_path}: {part} turned down and taken out ({extent})" + (f": {reason}" if reason else "")
        )
    if len(rejected) > TOLD_FILES:
        lines.append(f"- and {len(rejected) - TOLD_FILES} more files")
    if any(decision.verb == "restore" for decision in news):
        lines.append("- the files were brought back to an earlier checkpoint")
    if any(decision.verb == "update" for decision in news):
        lines.append("- the project's default branch was brought in")
    lines.append("Read a file again before you build on it, and do not repeat what was turned down.")
    return "\n".join(lines)
