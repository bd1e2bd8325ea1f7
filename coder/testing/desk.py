"""The rooms that decide about changes, without agents; as a program, one decision of a host that dies in the middle.

`python -m coder.testing.desk DATABASE_URL HOME SESSION_ID VERB [FAILPOINT ...]`
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from coder.branches import Branches, Roster
from coder.changes import Changes
from coder.checkpoints import Checkpoints
from coder.comments import follow
from coder.conversations import Conversations
from coder.decisions import Decisions
from coder.failpoints import arm
from coder.journal import Journal, open_journal
from coder.model.changes import ChangeStatus
from coder.model.checkpoints import Checkpoint
from coder.model.sessions import Project, SessionState
from coder.model.tasks import Task, TaskState
from coder.model.values import new_id, now, short_id
from coder.plans import Plans
from coder.protocol import BranchIncoming
from coder.rejections import Rejections
from coder.store import checkpoints, projects, session_worktrees, sessions, tasks
from coder.store.database import Store, open_store
from coder.targets import Targets
from coder.workspaces import Workspaces
from coder.worktrees.opening import open_worktree

AGENT = "demo"


@dataclass(frozen=True)
class Desk:
    """Turns are what is written in the worktree between `begin_turn` and `end_turn`."""

    home: Path
    store: Store
    journal: Journal
    workspaces: Workspaces
    changes: Changes
    decisions: Decisions
    rejections: Rejections
    checkpoints: Checkpoints
    branches: Branches

    async def decide(self, session_id: str, verb: str) -> None:
        """Everything pending, what was applied, what the default branch has, or back to the first checkpoint."""
        match verb:
            case "apply":
                await self.decisions.apply(await self.decisions.pending_picks(session_id), by="desk")
            case "apply to branch":
                await self.decisions.apply(await self.decisions.pending_picks(session_id), by="desk", target="branch")
            case "revert":
                applied = (await self.changes.list(session_id, ChangeStatus.APPLIED, None, 500)).items
                await self.decisions.revert([change.id for change in applied], by="desk")
            case "reject":
                await self.decisions.reject(await self.decisions.pending_picks(session_id), by="desk")
            case "commit":
                await self.branches.commit(session_id, "Everything", "all", "desk")
            case "merge":
                await self.branches.update(session_id, BranchIncoming(), "desk")
            case _:
                opened = (await self.checkpoints.list(session_id, None, 500)).items[-1]
                await self.checkpoints.restore(opened.id, by="desk")

    async def open_session(self, repository: Path) -> str:
        """A project of the repository and a session in it, as a host makes them. Gives the session's id."""
        id = new_id("ses")
        branch, path = f"coder/{short_id(id)}", self.home / "worktrees" / short_id(id)
        project = Project(
            id=new_id("prj"), name="sample", repo_path=str(repository), default_branch="main", created_at=now()
        )
        opened = await open_worktree(repository, path, branch, None, self.workspaces.shadow_path(id))
        worktree = opened.worktree(id, branch)
        start = Checkpoint(
            id=new_id("cpt"), session_id=id, kind="opened", tree=opened.base_tree, seq=0, created_at=now()
        )
        async with self.store.transaction() as connection:
            await projects.insert(connection, project)
            await sessions.insert(
                connection, id=id, project_id=project.id, name="sample", base_ref=None, created_at=now()
            )
            await session_worktrees.insert(connection, worktree)
            await sessions.move(connection, id, {SessionState.OPENING}, SessionState.OPEN)
            await checkpoints.insert(connection, start)
        return id

    async def begin_turn(self, session_id: str) -> None:
        """Up to where the agent is about to write."""
        task = Task(
            id=new_id("tsk"), session_id=session_id, agent=AGENT, input="go", state=TaskState.PENDING, created_at=now()
        )
        async with self.store.transaction() as connection:
            await tasks.insert(connection, task)
            (claimed,) = await tasks.claim(connection, self.store.run_id)
        await self.decisions.record_hand_edits(session_id)
        async with self.store.transaction() as connection:
            await tasks.mark_sent(
                connection, claimed.id, claimed.attempt, seq=0, agent_session_id=None, message_id=None
            )

    async def end_turn(self, session_id: str) -> None:
        """From where the agent has written for the last time."""
        (task,) = await self.running(session_id)
        async with self.decisions.survey(session_id) as survey:
            async with self.journal.commit(session_id) as commit:
                await self.decisions.record(commit, survey, agent=task.agent, task_id=task.id)
                await self.checkpoints.record(commit, survey, agent=task.agent, task_id=task.id)
                await tasks.finish(commit.connection, task.id, task.attempt, TaskState.COMPLETED)

    async def boot(self, session_id: str) -> None:
        """What a host does first: the turn that was cut off has ended, and what is left of decisions is settled."""
        for task in await self.running(session_id):
            async with self.store.transaction() as connection:
                await tasks.finish(connection, task.id, task.attempt, TaskState.FAILED)
            async with self.decisions.survey(session_id) as survey:
                async with self.journal.commit(session_id) as commit:
                    await self.decisions.record(commit, survey, agent=task.agent, task_id=task.id)
                    await self.checkpoints.record(commit, survey, agent=task.agent, task_id=task.id)
        await self.decisions.reconcile()

    async def running(self, session_id: str) -> Sequence[Task]:
        """The session's turn, where one is under way."""
        async with self.store.connection() as connection:
            return (await tasks.list_page(connection, session_id=session_id, states={TaskState.RUNNING})).items


@asynccontextmanager
async def open_desk(home: Path, database_url: str) -> AsyncGenerator[Desk]:
    """The rooms on a host's home and database, as that host has them."""
    async with open_store(database_url, run_id="desk") as store, open_journal(store) as journal:
        workspaces = Workspaces(store, home)
        changes, plans = Changes(store, workspaces, (), follow), Plans(store, workspaces)
        targets = Targets(workspaces, plans, label=lambda agent: agent)
        rejections = Rejections(store, journal, plans)
        decisions = Decisions(store, journal, plans, targets, changes, rejections)
        conversations = Conversations(close_agent=_no_agent)
        checkpoints = Checkpoints(store, journal, workspaces, plans, changes, decisions, conversations)
        roster = Roster(require_usable=_nobody, submit=_nobody)
        branches = Branches(store, journal, workspaces, plans, targets, changes, roster)
        yield Desk(home, store, journal, workspaces, changes, decisions, rejections, checkpoints, branches)


async def _no_agent(session_id: str, agent: str) -> None:
    """There is no agent at the desk to be ended."""


def _nobody(_: object) -> NoReturn:
    raise AssertionError("there is no agent at the desk")


async def _main(database_url: str, home: str, session_id: str, verb: str, *failpoints: str) -> None:
    async with open_desk(Path(home), database_url) as desk:
        arm(*failpoints)
        await desk.decide(session_id, verb)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
