// What is said about changes, decisions and checkpoints.

import type { Change, ChangeDetail, Checkpoint, Decision, FileDifference, HunkChoice, Json, QueuedDecision } from "../protocol.ts";
import type { Refused } from "../store.ts";
import { countOf } from "../words.ts";

/** Whose a difference is that no agent's turn made. */
export const USER = "user";

const LINK = "120000";
const SUBMODULE = "160000";
const EXECUTABLE = "100755";

/** Everybody whose work is in the change, the first one first. */
export function authorsOf(change: Pick<Change, "agent" | "contributors">): string[] {
  return [...new Set([...change.contributors, change.agent])];
}

/** What makes it this difference and no other: while this is the same, nobody has changed the file. */
export function sidesOf(change: FileDifference): string {
  const { file_path, old_path, base_blob, new_blob, base_mode, new_mode } = change;
  return [file_path, old_path, base_blob, new_blob, base_mode, new_mode].map((side) => side ?? "").join("\n");
}

/** Whether the change can be decided in parts. */
export function hasParts(detail: ChangeDetail): boolean {
  return detail.hunks.length > 0 && detail.base_mode !== LINK && detail.new_mode !== LINK;
}

/** What the lines alone do not tell, in sentences. */
export function notesOf(detail: ChangeDetail): string[] {
  const { base_mode, new_mode, old_path, file_path, operation } = detail;
  const notes: string[] = [];
  if (old_path !== null) notes.push(`Renamed from ${old_path} to ${file_path}.`);
  if (base_mode === SUBMODULE || new_mode === SUBMODULE) {
    notes.push(`A submodule: ${commitOf(detail.base_blob)} → ${commitOf(detail.new_blob)}. It is decided whole.`);
    return notes;
  }
  if (base_mode === LINK || new_mode === LINK) notes.push(linkWords(base_mode, new_mode));
  else if (base_mode && new_mode && base_mode !== new_mode)
    notes.push(new_mode === EXECUTABLE ? "Made executable." : base_mode === EXECUTABLE ? "No longer executable." : `Mode ${base_mode} → ${new_mode}.`);
  else if (operation === "create" && new_mode === EXECUTABLE) notes.push("An executable file.");
  if (detail.omitted === "binary") notes.push("A binary file: there is no text to compare. It is decided whole.");
  else if (detail.omitted === "large") notes.push("Too large to be shown as text. It is decided whole.");
  else if (detail.hunks.length === 0) {
    if (operation === "create") notes.push("An empty file.");
    else if (operation === "delete") notes.push("It was empty.");
    else if (detail.base_blob === detail.new_blob) notes.push("Its content stays the same.");
  }
  return notes;
}

function linkWords(base: string | null, fresh: string | null): string {
  if (base === null) return "A symbolic link; below is where it leads. It is decided whole.";
  if (fresh === null) return "A symbolic link that is removed. It is decided whole.";
  if (base !== fresh) return `${fresh === LINK ? "A file becomes a symbolic link" : "A symbolic link becomes a file"}. It is decided whole.`;
  return "A symbolic link that leads elsewhere. It is decided whole.";
}

function commitOf(blob: string | null): string {
  return blob ? blob.slice(0, 10) : "nothing";
}

/** Which part of a file a decision is about. */
export function partWords(hunks: readonly HunkChoice[] | null): string {
  if (hunks === null) return "the whole file";
  const lines = hunks.reduce((sum, hunk) => sum + (hunk.lines?.length ?? 0), 0);
  const whole = hunks.filter((hunk) => hunk.lines === null).length;
  return [whole > 0 && countOf(whole, "hunk"), lines > 0 && countOf(lines, "line")].filter(Boolean).join(" and ");
}

/** Whether a decision that waits already takes some of this hunk. */
export function isHunkQueued(queued: readonly QueuedDecision[], id: string): boolean {
  return queued.some(({ hunks }) => hunks === null || hunks.some((hunk) => hunk.id === id));
}

/** A refusal as a person should hear it; `isNews` where nothing went wrong but the world moved on. */
export function refusalWords(refused: Refused): { words: string; isNews: boolean } {
  const winner = rowIn(refused.fields);
  if (refused.code === "stale_hunk")
    return { words: "The file has changed since you looked. Below is what it is now; decide again.", isNews: true };
  if (refused.code === "wrong_state" && winner)
    return winner.status === "superseded"
      ? { words: "The file has changed again meanwhile. Look at it once more and decide.", isNews: true }
      : { words: `${winner.decided_by ?? "Somebody"} has already ${winner.status} this.`, isNews: true };
  if (refused.code === "decision_queued") return { words: "Its rejection waits for the end of the turn. Withdraw that first.", isNews: true };
  return { words: refused.words, isNews: false };
}

function rowIn(fields: Refused["fields"]): { status: string; decided_by: string | null } | null {
  const row = fields?.change;
  if (!isRecord(row) || typeof row.status !== "string") return null;
  return { status: row.status, decided_by: typeof row.decided_by === "string" ? row.decided_by : null };
}

function isRecord(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A file that does not fit, with its sides as far as they are text. */
export interface Clash {
  readonly filePath: string;
  readonly reason: string;
  readonly base: string | null;
  readonly present: string | null;
  readonly change: string | null;
  /** The file with git's markers. */
  readonly merged: string | null;
}

/** The files that a refused decision was refused for; empty where it was for something else. */
export function clashesOf(refused: Refused): Clash[] {
  const found = refused.code === "merge_conflict" ? refused.fields?.conflicts : null;
  if (!Array.isArray(found)) return [];
  return found.filter(isRecord).map((clash) => ({
    filePath: textIn(clash.file_path) ?? "",
    reason: textIn(clash.reason) ?? "it does not fit",
    base: textIn(clash.base),
    present: textIn(clash.checkout),
    change: textIn(clash.change),
    merged: textIn(clash.merged),
  }));
}

function textIn(value: Json | undefined): string | null {
  return typeof value === "string" ? value : null;
}

export type MergedPart =
  | { readonly kind: "same"; readonly lines: readonly string[]; readonly left: number }
  | { readonly kind: "clash"; readonly present: readonly string[]; readonly base: readonly string[] | null; readonly change: readonly string[] };

const AROUND = 3;

/** A text with git's markers taken apart; `base` is null where they do not say what was there before both. Of what is the same only the lines around a clash are kept; `left` counts the others. */
export function mergedParts(merged: string): MergedPart[] {
  const parts: MergedPart[] = [];
  let same: string[] = [];
  let clash: { present: string[]; base: string[] | null; change: string[] } | null = null;
  let side: "present" | "base" | "change" = "present";
  const flush = (isLast: boolean) => {
    const head = parts.length ? same.slice(0, AROUND) : [];
    const tail = isLast ? [] : same.slice(Math.max(head.length, same.length - AROUND));
    if (same.length) parts.push({ kind: "same", lines: [...head, ...tail], left: same.length - head.length - tail.length });
    same = [];
  };
  const lines = merged.split("\n");
  if (lines.at(-1) === "") lines.pop();
  for (const line of lines) {
    if (!clash && /^<{7}( |$)/.test(line)) {
      flush(false);
      clash = { present: [], base: null, change: [] };
      side = "present";
    } else if (clash && /^\|{7}( |$)/.test(line)) {
      clash.base = [];
      side = "base";
    } else if (clash && /^={7}$/.test(line)) side = "change";
    else if (clash && /^>{7}( |$)/.test(line)) {
      parts.push({ kind: "clash", ...clash });
      clash = null;
    } else (clash?.[side] ?? same).push(line);
  }
  flush(true);
  return parts;
}

const VERBS: Record<Decision["verb"], string> = {
  apply: "Applied",
  reject: "Rejected",
  revert: "Reverted",
  restore: "Restored a checkpoint",
  update: "Brought the default branch in",
};

const PLANNED: Record<Decision["verb"], string> = {
  apply: "Apply",
  reject: "Reject",
  revert: "Revert",
  restore: "Restore a checkpoint",
  update: "Bring the default branch in",
};

/** What was decided, in one line; `files` are the paths where they are known. */
export function decisionWords(decision: Decision, files: readonly string[]): string {
  const verb = (decision.state === "done" ? VERBS : PLANNED)[decision.verb];
  if (decision.verb === "restore" || decision.verb === "update") return verb;
  const only = decision.picks.length === 1 ? decision.picks[0] : undefined;
  const part = only && only.hunks !== null ? `${partWords(only.hunks)} of ` : "";
  const what = files.length === 1 && decision.picks.length === 1 ? files[0] : countOf(decision.picks.length, "file");
  const where = decision.target === "branch" && decision.verb === "apply" ? " to the branch" : "";
  return `${verb} ${part}${what}${where}`;
}

export const DECISION_STATE: Record<Decision["state"], string | null> = {
  queued: "waits for the turn's end",
  underway: "under way",
  done: null,
  refused: "not carried out",
  withdrawn: "withdrawn",
};

export function checkpointWords(checkpoint: Checkpoint): string {
  switch (checkpoint.kind) {
    case "opened":
      return "When the session was opened";
    case "turn":
      return `After a turn of ${checkpoint.agent ?? "an agent"}`;
    case "restore":
      return "Before a restore";
    case "update":
      return "Before the default branch was brought in";
  }
}
