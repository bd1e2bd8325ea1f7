import { describe, expect, it } from "vitest";

import type { Change, ChangeDetail, Decision } from "../protocol.ts";
import type { Refused } from "../store.ts";
import { groupsOf } from "./files.tsx";
import { rowsOf } from "./ledger.tsx";
import { viewStateOf, withView } from "./viewed.ts";
import { authorsOf, clashesOf, decisionWords, hasParts, isHunkQueued, mergedParts, notesOf, partWords, refusalWords } from "./words.ts";

const AT = "2026-01-01T00:00:00.000Z";

function change(more: Partial<Change> = {}): Change {
  return {
    file_path: "a.txt",
    old_path: null,
    operation: "edit",
    base_blob: "b1",
    new_blob: "n1",
    base_mode: "100644",
    new_mode: "100644",
    is_binary: false,
    added_lines: 1,
    deleted_lines: 1,
    id: "chg_1",
    session_id: "ses_1",
    task_id: null,
    agent: "demo",
    status: "pending",
    created_at: AT,
    decided_at: null,
    decided_by: null,
    reason: null,
    contributors: [],
    is_secret: false,
    split_from: null,
    target: null,
    commit: null,
    decision_id: null,
    queued: [],
    ...more,
  };
}

function detail(more: Partial<ChangeDetail> = {}): ChangeDetail {
  return { ...change(), diff: "", hunks: [{ id: "h", header: "@@ -1 +1 @@", lines: ["-a", "+b"] }], omitted: null, ...more };
}

function decision(more: Partial<Decision> = {}): Decision {
  return {
    id: "dec_1",
    session_id: "ses_1",
    verb: "apply",
    target: "checkout",
    picks: [{ change_id: "chg_1", hunks: null, part: null }],
    by: "me",
    reason: null,
    checkpoint_id: null,
    state: "done",
    error: null,
    created_at: AT,
    ended_at: AT,
    ...more,
  };
}

function refused(more: Partial<Refused>): Refused {
  return { state: "refused", words: "No.", code: null, fields: null, ...more };
}

describe("a change in words", () => {
  it("names what is no text", () => {
    const words = (more: Partial<ChangeDetail>) => notesOf(detail({ hunks: [], ...more })).join(" ");
    expect(words({ omitted: "binary" })).toContain("binary");
    expect(words({ omitted: "large" })).toContain("Too large");
    expect(words({ operation: "create", base_blob: null, base_mode: null })).toBe("An empty file.");
    expect(words({ new_mode: "100755", new_blob: "b1" })).toBe("Made executable. Its content stays the same.");
    expect(words({ new_mode: "120000" })).toContain("becomes a symbolic link");
    expect(words({ base_mode: "160000", new_mode: "160000" })).toBe("A submodule: b1 → n1. It is decided whole.");
    expect(words({ operation: "rename", old_path: "old.txt", new_blob: "b1" })).toContain("Renamed from old.txt to a.txt.");
    expect(notesOf(detail())).toEqual([]);
  });

  it("is decided in parts where it is text", () => {
    expect(hasParts(detail())).toBe(true);
    expect(hasParts(detail({ new_mode: "120000" }))).toBe(false);
    expect(hasParts(detail({ hunks: [] }))).toBe(false);
  });

  it("names everybody whose work is in it", () => {
    expect(authorsOf(change({ contributors: ["user", "demo"] }))).toEqual(["user", "demo"]);
  });
});

describe("a decision in words", () => {
  it("names the part", () => {
    expect(partWords(null)).toBe("the whole file");
    expect(partWords([{ id: "h", lines: null }, { id: "i", lines: [1, 2] }])).toBe("1 hunk and 2 lines");
    expect(decisionWords(decision(), ["a.txt"])).toBe("Applied a.txt");
    expect(decisionWords(decision({ state: "queued", verb: "reject", picks: [{ change_id: "c", hunks: [{ id: "h", lines: [0] }], part: null }] }), ["a.txt"])).toBe(
      "Reject 1 line of a.txt",
    );
    expect(decisionWords(decision({ verb: "restore", picks: [] }), [])).toBe("Restored a checkpoint");
  });

  it("that waits covers its hunks", () => {
    const queued = { decision_id: "d", verb: "reject", by: "me", reason: null } as const;
    expect(isHunkQueued([{ ...queued, hunks: null }], "h")).toBe(true);
    expect(isHunkQueued([{ ...queued, hunks: [{ id: "i", lines: null }] }], "h")).toBe(false);
  });

  it("finds the rows that it made, and those that a later one took over", () => {
    const part = change({ id: "chg_2", split_from: "chg_1", decision_id: "dec_1", status: "applied" });
    expect(rowsOf(decision(), [change(), part]).map(({ id }) => id)).toEqual(["chg_2"]);
    expect(rowsOf(decision(), [change({ status: "reverted", decision_id: "dec_2" })]).map(({ id }) => id)).toEqual(["chg_1"]);
  });
});

describe("a refusal in words", () => {
  it("is news where the world moved on", () => {
    expect(refusalWords(refused({ code: "stale_hunk" }))).toMatchObject({ isNews: true });
    expect(refusalWords(refused({ code: "wrong_state", fields: { change: { status: "applied", decided_by: "ann" } } })).words).toBe(
      "ann has already applied this.",
    );
    expect(refusalWords(refused({ code: "wrong_state", fields: { change: { status: "superseded" } } })).words).toContain("changed again");
    expect(refusalWords(refused({ code: "git_failed" }))).toEqual({ words: "No.", isNews: false });
  });

  it("holds the sides of a conflict", () => {
    const conflicts = [{ file_path: "a.txt", reason: "both", base: "b", checkout: "c", change: null, merged: 1 }, 7];
    expect(clashesOf(refused({ code: "merge_conflict", fields: { conflicts } }))).toEqual([
      { filePath: "a.txt", reason: "both", base: "b", present: "c", change: null, merged: null },
    ]);
    expect(clashesOf(refused({ code: "stale_hunk", fields: { conflicts } }))).toEqual([]);
  });

  it("shows of a merged text what clashes and the lines around it", () => {
    const merged = ["1", "2", "3", "4", "<<<<<<< yours", "mine", "||||||| base", "old", "=======", "theirs", ">>>>>>> change", "5", "6", "7", "8", ""].join("\n");
    expect(mergedParts(merged)).toEqual([
      { kind: "same", lines: ["2", "3", "4"], left: 1 },
      { kind: "clash", present: ["mine"], base: ["old"], change: ["theirs"] },
      { kind: "same", lines: ["5", "6", "7"], left: 1 },
    ]);
    expect(mergedParts("<<<<<<< a\nmine\n=======\ntheirs\n>>>>>>> b\n")).toEqual([{ kind: "clash", present: ["mine"], base: null, change: ["theirs"] }]);
    expect(mergedParts("=======\nplain\n")).toEqual([{ kind: "same", lines: [], left: 2 }]);
  });
});

describe("a viewed mark", () => {
  it("holds for the file as it was", () => {
    const viewed = withView({ "gone.txt": "x" }, change(), true, [change()]);
    expect(Object.keys(viewed)).toEqual(["a.txt"]);
    expect(viewStateOf(viewed, change({ id: "chg_2" }))).toBe("viewed");
    expect(viewStateOf(viewed, change({ new_blob: "n2" }))).toBe("stale");
    expect(viewStateOf(withView(viewed, change(), false, [change()]), change())).toBe("new");
    expect(viewStateOf({}, change({ file_path: "constructor" }))).toBe("new");
  });
});

describe("files", () => {
  it("stand in groups by folder once there are more than a few", () => {
    const files = ["a.txt", "src/b.ts", "src/c.ts", "src/d/e.ts", "z.txt", "zz.txt"].map((file_path) => change({ file_path }));
    expect(groupsOf(files.slice(0, 3))).toHaveLength(1);
    expect(groupsOf(files).map(({ folder, changes }) => [folder, changes.length])).toEqual([
      ["", 3],
      ["src/", 2],
      ["src/d/", 1],
    ]);
  });
});
