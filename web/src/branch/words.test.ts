import { describe, expect, it } from "vitest";

import type { BranchStatus, BranchUpdate } from "../protocol.ts";
import { commitWords, lossWords, refusalWords, standWords, updateWords } from "./words.ts";

const STATUS: BranchStatus = {
  session_id: "s",
  branch: "coder/abc",
  head: "1".repeat(40),
  default_branch: "main",
  default_head: "2".repeat(40),
  merge_base: "2".repeat(40),
  ahead: 0,
  behind: 0,
  uncommitted: 0,
  applied: 0,
  problem: null,
};

const UPDATE: BranchUpdate = { session_id: "s", outcome: "merged", head: "1", incoming: "2", files: 0, conflicts: [], task: null };

describe("a branch", () => {
  it("stands ahead, behind or level, or nobody knows", () => {
    expect(standWords(STATUS)).toBe("level with main");
    expect(standWords({ ...STATUS, ahead: 2 })).toBe("2 ahead of main");
    expect(standWords({ ...STATUS, ahead: 2, behind: 1 })).toBe("2 ahead, 1 behind of main");
    expect(standWords({ ...STATUS, ahead: null })).toBe("");
  });

  it("is told what a commit and an update have done", () => {
    const made = { session_id: "s", branch: "coder/abc", commit: "12345678abc", parent: "0", files: 2, agents: ["demo"], changes: [] };
    expect(commitWords(made)).toBe("Committed 2 files as 12345678, with demo as co-author.");
    expect(commitWords({ ...made, files: 0 })).toBe("It was on coder/abc already.");
    expect(updateWords({ ...UPDATE, files: 1 }, "main")).toBe("Merged main · 1 file changed.");
    expect(updateWords({ ...UPDATE, outcome: "up_to_date" }, "main")).toBe("There is nothing new in main.");
    expect(updateWords({ ...UPDATE, outcome: "rebased", conflicts: ["a", "b"] }, "main")).toBe("Rebased onto main · the agent resolves 2 files.");
  });

  it("is refused with what to do about it", () => {
    expect(refusalWords({ code: "turn_running", words: "A turn is running" })).toBe("A turn is running. Stop the turn, or try again when it has ended.");
    expect(refusalWords({ code: "constructor", words: "No." })).toBe("No.");
    expect(refusalWords({ code: null, words: "The host cannot be reached." })).toBe("The host cannot be reached.");
  });
});

describe("closing a session", () => {
  it("says which files and commits go with it", () => {
    const names = ["a", "b", "c", "d", "e", "f"];
    expect(lossWords(names, { ...STATUS, ahead: 2 }, false)).toEqual([
      "6 changed files not applied: a, b, c, d, e and 1 more",
      "2 commits of coder/abc that main does not have",
    ]);
    expect(lossWords([], { ...STATUS, ahead: 2 }, true)).toEqual([]);
    expect(lossWords([], null, false)).toEqual([]);
  });
});
