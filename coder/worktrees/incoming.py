"""Bringing another branch into a session's: a merge or a rebase, computed on commits in the shadow alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from coder.worktrees.branch import Tip, carry, make_commit
from coder.worktrees.merge import Clash, Merged, merge_commits, merge_trees, settled
from coder.worktrees.shadow import Shadow

Outcome = Literal["up_to_date", "fast_forward", "merged", "rebased"]


@dataclass(frozen=True)
class Brought:
    """The commit that the branch would stand on; the repository has it, no ref leads to it.

    Where both sides changed the same (`clashed`), it holds the incoming side.
    """

    commit: str
    outcome: Outcome
    clashed: Sequence[Merged] = ()

    @property
    def clashes(self) -> Sequence[Clash]:
        return [clash for merged in self.clashed for clash in merged.clashes]


async def merge_in(shadow: Shadow, tip: Tip, incoming: str, author: Mapping[str, str], title: str) -> Brought:
    """As `git merge` would."""
    if await is_ancestor(shadow, incoming, tip.commit):
        return Brought(tip.commit, "up_to_date")
    if await is_ancestor(shadow, tip.commit, incoming):
        return Brought(incoming, "fast_forward")
    merged = await merge_commits(shadow, tip.commit, incoming)
    tree = await settled(shadow, merged)
    commit = await make_commit(shadow, tree, [tip.commit, incoming], f"{title}\n".encode(), author)
    await carry(shadow, commit, [tip.commit, incoming])
    return Brought(commit, "merged", [merged] if merged.clashes else [])


async def rebase_onto(shadow: Shadow, tip: Tip, incoming: str, author: Mapping[str, str]) -> Brought:
    """As `git rebase` would: the branch's own commits one by one on `incoming`, without merges and empty ones."""
    if await is_ancestor(shadow, incoming, tip.commit):
        return Brought(tip.commit, "up_to_date")
    if await is_ancestor(shadow, tip.commit, incoming):
        return Brought(incoming, "fast_forward")
    question = ("rev-list", "--reverse", "--topo-order", "--no-merges", f"{incoming}..{tip.commit}")
    head, clashed = incoming, list[Merged]()
    for commit in (await shadow.git(*question)).decode().split():
        # the sides as a merge has them: the session's own first, what comes in second
        trees = [await _tree_of(shadow, each) for each in (f"{commit}^", commit, head)]
        merged = await merge_trees(shadow, trees[0], trees[1], trees[2])
        if merged.clashes:
            clashed.append(merged)
        tree = await settled(shadow, merged)
        if tree != trees[2]:
            head = await _replayed(shadow, commit, tree, head, author)
    await carry(shadow, head, [tip.commit, incoming])
    return Brought(head, "rebased", clashed)


async def is_ancestor(shadow: Shadow, ancestor: str, commit: str) -> bool:
    """Whether `commit` has `ancestor` in it."""
    question = ("rev-list", "--max-count=1", ancestor, "--not", commit)
    return not await shadow.git(*question)


async def merge_base(shadow: Shadow, one: str, other: str) -> str | None:
    """The best common ancestor; None where there is none."""
    return (await shadow.git("merge-base", one, other, accepted=(0, 1))).decode().strip() or None


async def count_apart(shadow: Shadow, ours: str, theirs: str) -> tuple[int, int]:
    """How many commits each has that the other has not."""
    counts = (await shadow.git("rev-list", "--left-right", "--count", f"{ours}...{theirs}")).decode().split()
    return int(counts[0]), int(counts[1])


async def _replayed(shadow: Shadow, commit: str, tree: str, parent: str, committer: Mapping[str, str]) -> str:
    shown = await shadow.git("show", "--no-patch", "--date=raw", "--format=%an%x00%ae%x00%ad%x00%B", commit)
    name, email, date, message = shown.decode(errors="surrogateescape").split("\0", 3)
    author = {
        **committer,
        "GIT_AUTHOR_NAME": name or committer["GIT_AUTHOR_NAME"],
        "GIT_AUTHOR_EMAIL": email or committer["GIT_AUTHOR_EMAIL"],
        "GIT_AUTHOR_DATE": f"@{date}",
    }
    words = message.removesuffix("\n").encode(errors="surrogateescape")
    return await make_commit(shadow, tree, [parent], words, author)


async def _tree_of(shadow: Shadow, commit: str) -> str:
    return (await shadow.git("rev-parse", "--verify", f"{commit}^{{tree}}")).decode().strip()
