import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { activityOf, beginOf, byId, fold, prepend, queueOf, urgencyOf, viewOf, type Item, type View } from "./fold.ts";
import type { AgentEvent, Change, Comment, JournalRecord, Session, SnapshotFrame, Task, ToolCall } from "./protocol.ts";

const AT = "2026-01-01T00:00:00.000Z";

const session: Session = {
  id: "ses_1",
  project_id: "prj_1",
  name: "First",
  state: "open",
  worktree_path: "/tmp/w",
  branch: "coder/1",
  base_ref: null,
  base_commit: "c",
  last_seq: 0,
  created_at: AT,
  updated_at: AT,
  auto_apply: false,
};

function snapshot(more: Partial<SnapshotFrame> = {}): SnapshotFrame {
  return {
    type: "snapshot",
    session_id: "ses_1",
    seq: 0,
    session,
    agents: [],
    tasks: [],
    permissions: [],
    changes: [],
    setup: null,
    comments: [],
    events: [],
    has_more: false,
    ...more,
  };
}

function records(events: AgentEvent[], first = 1, taskId = "tsk_1"): JournalRecord[] {
  return events.map((event, at) => ({ seq: first + at, at: AT, agent: "demo", task_id: taskId, event }));
}

/** What the host does with pieces of one text after their turn. */
function merged(pieces: JournalRecord[]): JournalRecord {
  const text = pieces.map(({ event }) => (event.type === "text" ? event.text : "")).join("");
  return { ...pieces[0]!, ...pieces.at(-1)!, first_seq: pieces[0]!.seq, until: AT, event: { type: "text", text, message_id: "m1" } };
}

function call(more: Partial<ToolCall> = {}): ToolCall {
  return {
    id: "call_1",
    title: "Write",
    name: null,
    kind: "edit",
    status: "pending",
    input: null,
    output: null,
    content: [],
    diffs: [],
    locations: [],
    terminals: [],
    sub_agent: null,
    parent_id: null,
    ...more,
  };
}

function task(more: Partial<Task> = {}): Task {
  return {
    id: "tsk_1",
    session_id: "ses_1",
    parent_task_id: null,
    agent: "demo",
    model: null,
    mode_id: null,
    thinking_option_id: null,
    feature_values: {},
    attachments: [],
    input: "write a.txt",
    state: "pending",
    error: null,
    stop_reason: null,
    output_summary: null,
    usage: null,
    attempt: 0,
    place: 1,
    cancel_requested: false,
    created_at: AT,
    started_at: null,
    ended_at: null,
    ...more,
  };
}

const text = (words: string, message_id: string | null = "m1"): AgentEvent => ({ type: "text", text: words, message_id });
const started: AgentEvent = { type: "turn_started", task_id: "tsk_1" };
const asked: AgentEvent = { type: "user_text", text: "write a.txt" };
const ended = (more: Partial<Extract<AgentEvent, { type: "turn_ended" }>> = {}): AgentEvent => ({
  type: "turn_ended",
  task_id: "tsk_1",
  state: "completed",
  stop_reason: "end_turn",
  error: null,
  usage: null,
  ...more,
});

const folded = (events: AgentEvent[]): View => fold(viewOf(snapshot()), records(events)).view;
const kinds = (items: readonly Item[]) => items.map((item) => item.kind);

describe("numbers", () => {
  it("drops what it knows already", () => {
    const once = fold(viewOf(snapshot()), records([asked, text("a"), text("b")])).view;
    const twice = fold(once, records([asked, text("a"), text("b"), text("c")])).view;
    expect(twice.seq).toBe(4);
    expect(twice.story.items.at(-1)).toMatchObject({ kind: "text", text: "abc" });
  });

  it("stops at a gap and says so", () => {
    const { view, hasGap } = fold(viewOf(snapshot()), [...records([asked]), ...records([text("late")], 3)]);
    expect(hasGap).toBe(true);
    expect(view.seq).toBe(1);
  });

  it("keeps the same view when nothing is new", () => {
    const view = folded([asked]);
    expect(fold(view, records([asked])).view).toBe(view);
  });

  it("comes to the same view however the records are cut into frames", () => {
    const all = records([started, asked, text("a"), text("b"), { type: "tool_call", tool_call: call() }, ended()]);
    const whole = fold(viewOf(snapshot()), all).view;
    const single = all.reduce((view, record) => fold(view, [record]).view, viewOf(snapshot()));
    expect(single).toEqual(whole);
  });
});

describe("older records", () => {
  const all = records([
    started,
    asked,
    text("one "),
    { type: "tool_call", tool_call: call() },
    { type: "tool_update", tool_call: call({ status: "completed" }) },
    text("two"),
    ended(),
  ]);

  it("are put before the tail as if they had been there from the start", () => {
    const tail = viewOf(snapshot({ seq: 7, events: all.slice(4), has_more: true }));
    const full = prepend(tail, all.slice(0, 4));
    expect(full.story).toEqual(viewOf(snapshot({ seq: 7, events: all })).story);
    expect(full.hasMore).toBe(false);
  });

  it("leave the facts of the snapshot alone", () => {
    const tail = viewOf(snapshot({ seq: 7, events: all.slice(6), has_more: true, tasks: [task({ state: "completed" })] }));
    expect(prepend(tail, all.slice(0, 6)).facts.tasks["tsk_1"]?.state).toBe("completed");
  });

  it("are ignored when they do not touch the tail", () => {
    const tail = viewOf(snapshot({ seq: 7, events: all.slice(5), has_more: true }));
    expect(prepend(tail, all.slice(0, 2))).toBe(tail);
  });
});

describe("a text that was merged", () => {
  const pieces = records([text("one "), text("two "), text("three "), text("four")]);

  it("journal: the pane loads older records of a merged text", () => {
    const shown = viewOf(snapshot({ seq: 4, events: pieces.slice(2), has_more: true }));
    expect(beginOf(shown)).toBe(3);
    const full = prepend(shown, [merged(pieces.slice(0, 2))]);
    expect(full.hasMore).toBe(false);
    expect(full.story.items).toEqual(viewOf(snapshot({ seq: 4, events: pieces })).story.items);
  });

  it("is the same text under the same key", () => {
    const whole = viewOf(snapshot({ seq: 4, events: [merged(pieces)] }));
    expect(whole.story.items).toEqual(viewOf(snapshot({ seq: 4, events: pieces })).story.items);
    expect(beginOf(whole)).toBe(1);
  });

  it("goes on behind its last number, and is not taken where it overlaps", () => {
    const view = viewOf(snapshot({ seq: 2, events: [merged(pieces.slice(0, 2))] }));
    expect(fold(view, [merged(pieces.slice(2))])).toMatchObject({ hasGap: false, view: { seq: 4 } });
    expect(fold(view, [merged(pieces.slice(1))])).toEqual({ hasGap: true, view });
    expect(prepend(viewOf(snapshot({ seq: 4, events: pieces.slice(2), has_more: true })), [merged(pieces)]).hasMore).toBe(true);
  });
});

describe("the transcript", () => {
  it("joins the deltas of one message and keeps messages apart", () => {
    const items = folded([asked, text("a"), text("b"), text("c", "m2")]).story.items;
    expect(items.map((item) => ("text" in item ? item.text : ""))).toEqual(["write a.txt", "ab", "c"]);
  });

  it("starts a new piece of text after a tool call", () => {
    const items = folded([text("a"), { type: "tool_call", tool_call: call() }, text("b")]).story.items;
    expect(kinds(items)).toEqual(["text", "tool", "text"]);
  });

  it("keeps one card per tool call, in its place", () => {
    const items = folded([
      { type: "tool_call", tool_call: call() },
      text("meanwhile"),
      { type: "tool_update", tool_call: call({ status: "completed", title: "Wrote" }) },
    ]).story.items;
    expect(kinds(items)).toEqual(["tool", "text"]);
    expect(items[0]).toMatchObject({ call: { title: "Wrote", status: "completed" } });
  });

  it("gives a reused tool id of a later turn its own card", () => {
    const first = fold(viewOf(snapshot()), records([{ type: "tool_call", tool_call: call({ status: "completed" }) }])).view;
    const second = fold(first, records([{ type: "tool_call", tool_call: call() }], 2, "tsk_2")).view;
    expect(kinds(second.story.items)).toEqual(["tool", "tool"]);
  });

  it("marks calls that a turn left unfinished", () => {
    const items = folded([asked, { type: "tool_call", tool_call: call({ status: "running" }) }, ended()]).story.items;
    expect(items[1]).toMatchObject({ kind: "tool", isAbandoned: true });
  });

  it("updates the plan of a turn in place", () => {
    const plan = (status: "pending" | "completed"): AgentEvent => ({
      type: "plan",
      entries: [{ content: "step", priority: "medium", status }],
    });
    const items = folded([plan("pending"), text("x"), plan("completed")]).story.items;
    expect(kinds(items)).toEqual(["plan", "text"]);
    expect(items[0]).toMatchObject({ entries: [{ status: "completed" }] });
  });

  it("ends a turn in words and remembers what was asked", () => {
    const items = folded([asked, ended({ state: "failed", error: { code: "agent_died", message: "it died" } })]).story.items;
    expect(items.at(-1)).toMatchObject({ kind: "turn", state: "failed", input: "write a.txt", error: { message: "it died" } });
  });

  it("shows an event that it has no word for", () => {
    const strange = { type: "from_the_future", words: 1 } as unknown as AgentEvent;
    expect(folded([strange]).story.items[0]).toMatchObject({ kind: "unknown", raw: { words: 1 } });
  });

  it("never turns unknown usage into zero", () => {
    const usage: AgentEvent = {
      type: "usage",
      context_used: 10,
      context_size: null,
      input_tokens: null,
      output_tokens: null,
      cost: null,
    };
    expect(folded([usage]).story.usage["demo"]).toEqual({ ...usage, type: undefined });
  });
});

describe("facts", () => {
  it("follow a task from the queue to its end", () => {
    const states = records([{ type: "task_queued", task: task() }, started, ended()]).map(
      (_, at, all) => fold(viewOf(snapshot()), all.slice(0, at + 1)).view.facts.tasks["tsk_1"]?.state,
    );
    expect(states).toEqual(["pending", "running", "completed"]);
  });

  it("tell what the session is doing", () => {
    const request = {
      id: "prm_1",
      session_id: "ses_1",
      task_id: "tsk_1",
      agent: "demo",
      tool_call: call(),
      options: [],
      status: "pending" as const,
      option_id: null,
      created_at: AT,
      expires_at: AT,
      decided_at: null,
      decided_by: null,
    };
    const steps: AgentEvent[] = [
      { type: "task_queued", task: task() },
      started,
      { type: "permission_requested", request },
      {
        type: "permission_resolved",
        request_id: "prm_1",
        outcome: { status: "selected", option_id: "yes", decided_by: "person" },
      },
      ended({ state: "failed" }),
    ];
    const seen = steps.map((_, at) => activityOf(folded(steps.slice(0, at + 1)).facts));
    expect(seen).toEqual(["waiting", "working", "needs_you", "working", "failed"]);
  });

  it("keep each comment as it was told last, without a word in the transcript", () => {
    const open: Comment = {
      id: "cmt_1",
      session_id: "ses_1",
      change_id: "chg_1",
      file_path: "a.txt",
      blob: "b",
      side: "new",
      line: 1,
      text: "one",
      before: [],
      after: [],
      body: "why?",
      by: "me",
      status: "open",
      replies: [],
      created_at: AT,
      resolved_at: null,
      resolved_by: null,
      reason: null,
      task_id: null,
      sent_at: null,
      sent_replies: 0,
    };
    const resolved: Comment = { ...open, status: "resolved", resolved_at: AT, resolved_by: "host" };
    const view = viewOf(snapshot({ comments: [open] }));
    expect(view.facts.comments).toEqual({ cmt_1: open });
    const next = fold(view, records([{ type: "comment_updated", comment: resolved }])).view;
    expect(next.facts.comments).toEqual({ cmt_1: resolved });
    expect(next.story.items).toEqual([]);
  });

  it("tell what is left of a change in the place where the change was told", () => {
    const change = { id: "chg_1", file_path: "a.txt", status: "pending", added_lines: 3 } as Change;
    const left = { ...change, added_lines: 1 };
    const view = folded([asked, { type: "change_recorded", change }, ended(), { type: "change_recorded", change: left }]);
    expect(view.facts.changes).toEqual({ chg_1: left });
    expect(view.facts.movedAt).toBe(view.seq);
    expect(view.story.items.filter(({ kind }) => kind === "changes")).toMatchObject([{ changes: [left] }]);
  });

  it("do not put a started task back into the queue", () => {
    const tasks = folded([started, { type: "task_queued", task: task() }]).facts.tasks;
    expect(Object.keys(byId(Object.values(tasks)))).toEqual(["tsk_1"]);
    expect(tasks["tsk_1"]?.state).toBe("running");
  });
});

const goldens = join(import.meta.dirname, "../../tests/golden/acp");
const files = existsSync(goldens) ? readdirSync(goldens).filter((name) => name.endsWith(".events.json")) : [];

describe.skipIf(files.length === 0)("recorded agents", () => {
  it.each(files)("%s: every event is folded, text is whole, every tool call has one card", (name) => {
    const events = JSON.parse(readFileSync(join(goldens, name), "utf8")) as AgentEvent[];
    const { items } = folded([asked, ...events]).story;
    for (const kind of ["text", "reasoning"] as const) {
      const sent = events.filter((event) => event.type === kind).map((event) => ("text" in event ? event.text : ""));
      const shown = items.filter((item) => item.kind === kind).map((item) => ("text" in item ? item.text : ""));
      expect(shown.join("")).toBe(sent.join(""));
    }
    const ids = new Set(events.flatMap((event) => ("tool_call" in event ? [event.tool_call.id] : [])));
    const cards = items.filter((item) => item.kind === "tool");
    expect(new Set(cards.map((item) => item.call.id))).toEqual(ids);
    expect(cards.length).toBe(ids.size);
    for (const card of cards) {
      const last = events.findLast((event) => "tool_call" in event && event.tool_call.id === card.call.id);
      expect(card.call).toEqual((last as { tool_call: ToolCall }).tool_call);
    }
    expect(items.filter((item) => item.kind === "unknown").length).toBe(
      events.filter((event) => event.type === "unknown").length,
    );
  });
});

it("lines waiting prompts up by their places, also after one was moved", () => {
  const waiting = ["a", "b", "c"].map((id, at) => task({ id, place: at + 1 }));
  const told = waiting.map((each): AgentEvent => ({ type: "task_queued", task: each }));
  const moved: AgentEvent = { type: "task_updated", task: task({ id: "c", place: 0.5, input: "changed" }) };
  const { view } = fold(viewOf(snapshot()), records([...told, moved]));
  expect(queueOf(view.facts).map(({ id, input }) => [id, input])).toEqual([
    ["c", "changed"],
    ["a", "write a.txt"],
    ["b", "write a.txt"],
  ]);
});

describe("sending now", () => {
  const status = (of: "idle" | "working", can_steer: boolean | null = null): AgentEvent => ({
    type: "agent_status",
    agent: "demo",
    status: of,
    message: null,
    can_steer,
    sandbox: null,
  });

  it("joins the turn of an agent that takes input, and stops the turn of another", () => {
    const { facts } = folded([status("idle", true), started, asked, status("working")]);
    expect([urgencyOf(facts, "demo"), urgencyOf(facts, "other")]).toEqual(["steer", "interrupt"]);
  });

  it("stops a turn that takes nothing: unable, not begun yet, or ending", () => {
    const able = [status("idle", true), started, asked];
    const ending: AgentEvent[] = [
      { type: "task_queued", task: task({ cancel_requested: true }) },
      ...able,
      status("working"),
    ];
    for (const events of [[status("idle", false), started, asked, status("working")], able, ending])
      expect(urgencyOf(folded(events).facts, "demo")).toBe("interrupt");
  });

  it("is not offered where nothing runs", () => {
    expect(urgencyOf(folded([status("idle", true), { type: "task_queued", task: task() }]).facts, "demo")).toBeNull();
  });

  it("is known from a snapshot alone", () => {
    const row = {
      session_id: "ses_1",
      agent: "demo",
      backend: "acp_warm" as const,
      agent_session_id: null,
      server_port: null,
      status: "active" as const,
      last_active_at: AT,
      model: null,
      mode_id: null,
      thinking_option_id: null,
      can_steer: true,
      sandbox: "landlock" as const,
      can_resume: true,
    };
    const view = viewOf(snapshot({ agents: [row], tasks: [task({ state: "running" })] }));
    expect(urgencyOf(view.facts, "demo")).toBe("steer");
  });

  it("shows the words in the turn that they joined, and no turn of their own", () => {
    const waited = (event: AgentEvent): AgentEvent => ({ ...event, task_id: "tsk_2" }) as AgentEvent;
    const items = folded([
      started,
      asked,
      { type: "task_queued", task: task({ id: "tsk_2", input: "and b.txt" }) },
      { type: "user_text", text: "and b.txt" },
      waited(ended({ state: "cancelled", stop_reason: "steered" })),
      ended(),
    ]).story.items;
    expect(kinds(items)).toEqual(["prompt", "prompt", "turn"]);
    expect(items.slice(0, 2)).toMatchObject([{ isSteering: false }, { isSteering: true }]);
    expect(items[2]).toMatchObject({ taskId: "tsk_1", input: "write a.txt" });
  });
});
