// What is said about a session's branch.

import type { BranchCommit, BranchStatus, BranchUpdate } from "../protocol.ts";
import type { Refused } from "../store.ts";
import { countOf } from "../words.ts";

/** Where the branch stands, in one line; empty where nothing is known. */
export function standWords({ ahead, behind, default_branch }: BranchStatus): string {
  if (ahead === null || behind === null || default_branch === null) return "";
  if (ahead === 0 && behind === 0) return `level with ${default_branch}`;
  return [ahead > 0 && `${ahead} ahead`, behind > 0 && `${behind} behind`].filter(Boolean).join(", ") + ` of ${default_branch}`;
}

const ADVICE: Readonly<Record<string, string>> = {
  nothing_to_commit: "Apply something first, or commit everything that the worktree holds.",
  turn_running: "Stop the turn, or try again when it has ended.",
  branch_moved: "Somebody moved the branch meanwhile. Look at it and try again.",
  index_locked: "Another git works in the worktree. Try again when it has ended.",
  branch_missing: "Make it again in a terminal: git branch, with this name, in your repository.",
  no_default_branch: "Merge by hand in the worktree, or register the repository anew while a branch is checked out.",
  default_branch_missing: "Make it again in your repository, or merge by hand in the worktree.",
  unrelated_histories: "They cannot be brought together. Export a patch instead.",
  worktree_gone: "Open another session; what was committed is on the branch.",
  repository_gone: "Put the repository back where it was.",
};

/** A refusal with what a person can do about it. */
export function refusalWords({ code, words }: Pick<Refused, "code" | "words">): string {
  const advice = code !== null && Object.hasOwn(ADVICE, code) ? ADVICE[code] : undefined;
  return advice === undefined ? words : `${words.replace(/\.$/, "")}. ${advice}`;
}

export function commitWords(made: BranchCommit): string {
  if (made.files === 0) return `It was on ${made.branch} already.`;
  return `Committed ${countOf(made.files, "file")} as ${made.commit.slice(0, 8)}${made.agents.length ? `, with ${made.agents.join(" and ")} as co-author` : ""}.`;
}

const OUTCOME: Record<BranchUpdate["outcome"], string> = {
  up_to_date: "There is nothing new",
  fast_forward: "The branch went forward to",
  merged: "Merged",
  rebased: "Rebased onto",
};

export function updateWords(done: BranchUpdate, from: string): string {
  const files = done.files > 0 ? ` · ${countOf(done.files, "file")} changed` : "";
  const conflicts = done.conflicts.length > 0 ? ` · ${done.task?.agent ?? "the agent"} resolves ${countOf(done.conflicts.length, "file")}` : "";
  return `${OUTCOME[done.outcome]}${done.outcome === "up_to_date" ? " in" : ""} ${from}${files}${conflicts}.`;
}

/** What closing the session takes away, in sentences; `status` null where it could not be asked for. */
export function lossWords(pending: readonly string[], status: BranchStatus | null, keepsBranch: boolean): string[] {
  const found: string[] = [];
  if (pending.length > 0) found.push(`${countOf(pending.length, "changed file")} not applied: ${listed(pending)}`);
  if (status?.ahead && !keepsBranch) found.push(`${countOf(status.ahead, "commit")} of ${status.branch} that ${status.default_branch} does not have`);
  return found;
}

const LISTED = 5;

function listed(names: readonly string[]): string {
  return names.slice(0, LISTED).join(", ") + (names.length > LISTED ? ` and ${names.length - LISTED} more` : "");
}
