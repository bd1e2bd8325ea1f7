"""The rooms that decide about changes, without agents; as a program, one decision of a host that dies in the middle.

`python -m coder.testing.desk DATABASE_URL HOME SESSION_ID VERB [FAILPOINT ...]`
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from coder.branches import Branches, Roster
from coder.changes import Changes
from coder.checkpoints import Checkpoints
from coder.comments import follow
from coder.decisions import Decisions
from coder.failpoints import arm
from coder.journal import open_journal
from coder.model.changes import ChangeStatus
from coder.plans import Plans
from coder.protocol import BranchIncoming
from coder.store.database import open_store
from coder.targets import Targets
from coder.workspaces import Workspaces


@dataclass(frozen=True)
class Desk:
    changes: Changes
    decisions: Decisions
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


@asynccontextmanager
async def open_desk(home: Path, database_url: str) -> AsyncGenerator[Desk]:
    """The rooms on a host's home and database, as that host has them."""
    async with open_store(database_url, run_id="desk") as store, open_journal(store) as journal:
        workspaces = Workspaces(store, home / "shadows")
        changes, plans = Changes(store, workspaces, (), follow), Plans(store, workspaces)
        targets = Targets(workspaces, plans, label=lambda agent: agent)
        decisions = Decisions(store, journal, plans, targets, changes)
        checkpoints = Checkpoints(store, journal, workspaces, plans, changes, decisions)
        roster = Roster(require_usable=_nobody, submit=_nobody)
        branches = Branches(store, journal, workspaces, plans, targets, changes, roster)
        yield Desk(changes, decisions, checkpoints, branches)


def _nobody(_: object) -> NoReturn:
    raise AssertionError("there is no agent at the desk")


async def _main(database_url: str, home: str, session_id: str, verb: str, *failpoints: str) -> None:
    async with open_desk(Path(home), database_url) as desk:
        arm(*failpoints)
        await desk.decide(session_id, verb)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
