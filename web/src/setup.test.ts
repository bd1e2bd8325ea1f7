import { describe, expect, it } from "vitest";

import { activityOf, fold, viewOf } from "./fold.ts";
import type { JournalRecord, Session, Setup, SnapshotFrame, Task } from "./protocol.ts";
import { setupWords } from "./words.ts";

const AT = "2026-01-01T00:00:00.000Z";

function setup(more: Partial<Setup> = {}): Setup {
  return {
    session_id: "ses_1",
    state: "untrusted",
    source: ".coder/worktree.toml",
    digest: "d".repeat(64),
    recipe: {
      include: null,
      submodules: false,
      ports: [],
      env: {},
      setup: { command: ["npm", "ci"], timeout: 600 },
      teardown: null,
    },
    ports: {},
    holds: true,
    log: "",
    exit_status: null,
    error: null,
    created_at: AT,
    started_at: null,
    ended_at: null,
    ...more,
  };
}

function snapshot(more: Partial<SnapshotFrame> = {}): SnapshotFrame {
  const session = { id: "ses_1", project_id: "prj_1", name: "First", state: "open", last_seq: 0 } as Session;
  return {
    type: "snapshot",
    session_id: "ses_1",
    seq: 0,
    session,
    agents: [],
    tasks: [{ id: "tsk_1", state: "pending" } as Task],
    permissions: [],
    changes: [],
    comments: [],
    setup: setup(),
    events: [],
    has_more: false,
    ...more,
  };
}

const told = (value: Setup, seq: number): JournalRecord => ({
  seq,
  at: AT,
  agent: null,
  task_id: null,
  event: { type: "setup_updated", setup: value },
});

describe("worktree-setup: A viewer of the setup", () => {
  it("knows it from the snapshot and follows every later word of it", () => {
    const first = viewOf(snapshot());
    expect(first.facts.setup?.state).toBe("untrusted");
    const running = fold(first, [told(setup({ state: "running", log: "added 12 packages" }), 1)]).view;
    expect(running.facts.setup).toMatchObject({ state: "running", log: "added 12 packages" });
    expect(running.story.items).toEqual([]);
    const done = fold(running, [told(setup({ state: "done", holds: false }), 2)]).view;
    expect(done.facts.setup?.holds).toBe(false);
  });

  it("needs the person only while a prompt waits for their word", () => {
    expect(activityOf(viewOf(snapshot()).facts)).toBe("needs_you");
    expect(activityOf(viewOf(snapshot({ setup: setup({ state: "running" }) })).facts)).toBe("waiting");
    expect(activityOf(viewOf(snapshot({ tasks: [] })).facts)).toBe("idle");
    expect(activityOf(viewOf(snapshot({ setup: null })).facts)).toBe("waiting");
  });

  it("says in words what is waited for", () => {
    expect(setupWords(setup())).toContain("trust or skip");
    const error = { code: "setup_failed", message: "the setup command failed with exit status 3" };
    expect(setupWords(setup({ state: "failed", error }))).toContain("exit status 3. Prompts wait");
    expect(setupWords(setup({ state: "failed", error, holds: false }))).not.toContain("wait");
  });
});
