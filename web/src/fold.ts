// The pane's state of one session as a pure fold: a snapshot, then records in order of their numbers.

import type {
  AgentSession,
  AgentEvent,
  AgentStatusChanged,
  Change,
  Command,
  Comment,
  Fault,
  JournalRecord,
  PermissionRequest,
  PlanEntry,
  Session,
  Setup,
  SnapshotFrame,
  Task,
  TaskState,
  ToolCall,
  Usage,
} from "./protocol.ts";

export type AgentStatus = AgentStatusChanged["status"];

interface AgentFact {
  readonly status: AgentStatus;
  readonly message: string | null;
  /** Takes input while its turn runs. */
  readonly canSteer: boolean;
  /** What confines it; null while nobody has told. */
  readonly sandbox: AgentSession["sandbox"];
}

/** What the host keeps as rows: a snapshot is the truth, records move it on. */
export interface Facts {
  readonly session: Session;
  readonly agents: Readonly<Record<string, AgentFact>>;
  readonly tasks: Readonly<Record<string, Task>>;
  readonly permissions: Readonly<Record<string, PermissionRequest>>;
  readonly changes: Readonly<Record<string, Change>>;
  /** What the repository asks for in a new worktree; null where it asks for nothing. */
  readonly setup: Setup | null;
  /** Threads on lines: the open ones, and those settled while they were watched. */
  readonly comments: Readonly<Record<string, Comment>>;
  /** The newest record that told of a change, a decision or a checkpoint; the snapshot's number before that. */
  readonly movedAt: number;
}

interface Told {
  /** Stable while the records before it stay loaded. */
  readonly key: string;
  readonly at: string;
  readonly agent: string | null;
  readonly taskId: string | null;
}

export interface PromptItem extends Told {
  readonly kind: "prompt";
  readonly text: string;
  /** It joined a turn that another prompt had begun. */
  readonly isSteering: boolean;
}
export interface TextItem extends Told {
  readonly kind: "text" | "reasoning";
  readonly text: string;
  readonly messageId: string | null;
  readonly until: string;
}
export interface ToolItem extends Told {
  readonly kind: "tool";
  readonly call: ToolCall;
  /** When it was last heard of. */
  readonly until: string;
  /** The turn ended while the call was not finished. */
  readonly isAbandoned: boolean;
}
export interface PlanItem extends Told {
  readonly kind: "plan";
  readonly entries: readonly PlanEntry[];
}
export interface PermissionItem extends Told {
  readonly kind: "permission";
  readonly request: PermissionRequest;
}
export interface ChangesItem extends Told {
  readonly kind: "changes";
  readonly changes: readonly Change[];
}
export interface TurnItem extends Told {
  readonly kind: "turn";
  readonly state: TaskState;
  readonly stopReason: string | null;
  readonly error: Fault | null;
  readonly usage: Usage | null;
  readonly startedAt: string | null;
  readonly input: string | null;
}
export interface NoticeItem extends Told {
  readonly kind: "notice";
  readonly tone: "quiet" | "bad";
  readonly text: string;
}
export interface UnknownItem extends Told {
  readonly kind: "unknown";
  readonly raw: unknown;
}

export type Item =
  | PromptItem
  | TextItem
  | ToolItem
  | PlanItem
  | PermissionItem
  | ChangesItem
  | TurnItem
  | NoticeItem
  | UnknownItem;

/** What the records tell, and nothing else. */
export interface Story {
  readonly records: readonly JournalRecord[];
  readonly items: readonly Item[];
  readonly usage: Readonly<Record<string, Usage>>;
  readonly commands: Readonly<Record<string, readonly Command[]>>;
  readonly modes: Readonly<Record<string, string>>;
  readonly models: Readonly<Record<string, string>>;
}

/** How a session stands: the same value while no row of it changes, however long its story grows. */
export interface Standing {
  readonly facts: Facts;
}

export interface View extends Standing {
  readonly seq: number;
  readonly hasMore: boolean;
  readonly story: Story;
}

/** Why the task of a prompt ended that joined a running turn. */
const STEERED = "steered";

export type Activity = "needs_you" | "working" | "waiting" | "failed" | "idle";

const EMPTY_STORY: Story = { records: [], items: [], usage: {}, commands: {}, modes: {}, models: {} };

export function viewOf(snapshot: SnapshotFrame): View {
  return {
    seq: snapshot.seq,
    hasMore: snapshot.has_more,
    facts: factsOf(snapshot),
    story: tell(EMPTY_STORY, snapshot.events),
  };
}

/** Fold new records in. What is known already is dropped; at a gap the fold stops and says so. */
export function fold(view: View, records: readonly JournalRecord[]): { view: View; hasGap: boolean } {
  const fresh = freshOf(view.seq, records);
  const last = fresh.records.at(-1);
  if (!last) return { view, hasGap: fresh.hasGap };
  return {
    view: { ...view, seq: last.seq, facts: foldFacts(view.facts, fresh.records), story: tell(view.story, fresh.records) },
    hasGap: fresh.hasGap,
  };
}

/** The first number that a record covers: pieces of one text may have become one record. */
export const firstOf = (record: JournalRecord): number => record.first_seq ?? record.seq;

/** The run of records that follows `seq` without a gap. */
export function freshOf(seq: number, records: readonly JournalRecord[]): { records: JournalRecord[]; hasGap: boolean } {
  const fresh: JournalRecord[] = [];
  let last = seq;
  for (const record of records) {
    if (record.seq <= last) continue;
    if (firstOf(record) !== last + 1) return { records: fresh, hasGap: true };
    fresh.push(record);
    last = record.seq;
  }
  return { records: fresh, hasGap: false };
}

/** The first number that is shown. */
export function beginOf(view: View): number {
  const oldest = view.story.records[0];
  return oldest ? firstOf(oldest) : view.seq + 1;
}

/** Put a page of older records before what is shown. Pages that do not touch it are ignored. */
export function prepend(view: View, older: readonly JournalRecord[]): View {
  const first = beginOf(view);
  const before = older.filter((record) => record.seq < first);
  if (before.at(-1)?.seq !== first - 1) return older.length ? view : { ...view, hasMore: false };
  return {
    ...view,
    hasMore: before[0] !== undefined && firstOf(before[0]) > 1,
    story: tell(EMPTY_STORY, [...before, ...view.story.records]),
  };
}

/** What a person wants to know at a glance. */
export function activityOf(facts: Pick<Facts, "tasks" | "permissions"> & { setup?: Setup | null }): Activity {
  if (Object.values(facts.permissions).some((request) => request.status === "pending")) return "needs_you";
  const tasks = Object.values(facts.tasks);
  const isWaiting = tasks.some((task) => task.state === "pending");
  if (isWaiting && facts.setup?.holds && (facts.setup.state === "untrusted" || facts.setup.state === "failed")) return "needs_you";
  if (tasks.some((task) => task.state === "running")) return "working";
  if (tasks.some((task) => task.state === "pending" || task.state === "blocked")) return "waiting";
  let newest: Task | undefined;
  for (const task of tasks) if ((task.ended_at ?? "") > (newest?.ended_at ?? "")) newest = task;
  return newest?.state === "failed" ? "failed" : "idle";
}

export function foldFacts(facts: Facts, records: readonly JournalRecord[]): Facts {
  return records.reduce(foldFact, facts);
}

function factsOf(snapshot: SnapshotFrame): Facts {
  const agents: Record<string, AgentFact> = {};
  for (const agent of snapshot.agents)
    agents[agent.agent] = { status: shownStatus(agent.status), message: null, canSteer: agent.can_steer, sandbox: agent.sandbox };
  return {
    session: snapshot.session,
    agents,
    tasks: byId(snapshot.tasks),
    permissions: byId(snapshot.permissions),
    changes: byId(snapshot.changes),
    setup: snapshot.setup,
    comments: byId(snapshot.comments),
    movedAt: snapshot.seq,
  };
}

function shownStatus(status: SnapshotFrame["agents"][number]["status"]): AgentStatus {
  return status === "active" ? "working" : status === "closed" ? "cold" : status;
}

export function byId<Row extends { id: string }>(rows: readonly Row[]): Record<string, Row> {
  return Object.fromEntries(rows.map((row) => [row.id, row]));
}

function foldFact(facts: Facts, record: JournalRecord): Facts {
  const event = record.event;
  switch (event.type) {
    case "session_updated":
      return { ...facts, session: event.session };
    case "task_queued":
    case "task_updated":
      return withTask(facts, { ...event.task, ...laterOf(facts.tasks[event.task.id]) });
    case "turn_started":
      return withTask(facts, {
        ...(facts.tasks[event.task_id] ?? stubTask(event.task_id, record, facts)),
        state: "running",
        started_at: record.at,
      });
    case "turn_ended":
      return withTask(facts, {
        ...(facts.tasks[event.task_id] ?? stubTask(event.task_id, record, facts)),
        state: event.state,
        error: event.error,
        stop_reason: event.stop_reason,
        usage: event.usage,
        ended_at: record.at,
      });
    case "permission_requested":
      return { ...facts, permissions: { ...facts.permissions, [event.request.id]: event.request } };
    case "permission_resolved": {
      const request = facts.permissions[event.request_id];
      if (!request) return facts;
      return { ...facts, permissions: { ...facts.permissions, [request.id]: { ...request, ...event.outcome } } };
    }
    case "setup_updated":
      return { ...facts, setup: event.setup };
    case "comment_updated":
      return { ...facts, comments: { ...facts.comments, [event.comment.id]: event.comment } };
    case "change_recorded":
    case "change_decided":
      return { ...facts, changes: { ...facts.changes, [event.change.id]: event.change }, movedAt: record.seq };
    case "checkpoint_recorded":
      return { ...facts, movedAt: record.seq };
    case "agent_status": {
      const known = facts.agents[event.agent];
      const canSteer = event.can_steer ?? known?.canSteer ?? false;
      const sandbox = event.sandbox ?? known?.sandbox ?? null;
      return {
        ...facts,
        agents: { ...facts.agents, [event.agent]: { status: event.status, message: event.message, canSteer, sandbox } },
      };
    }
    default:
      return facts;
  }
}

function withTask(facts: Facts, task: Task): Facts {
  return { ...facts, tasks: { ...facts.tasks, [task.id]: task } };
}

/** A task that was heard of as running or ended is not put back into the queue by an older word. */
function laterOf(known: Task | undefined): Partial<Task> {
  return known && known.state !== "pending" && known.state !== "blocked" ? known : {};
}

function stubTask(id: string, record: JournalRecord, facts: Facts): Task {
  return {
    id,
    session_id: facts.session.id,
    parent_task_id: null,
    agent: record.agent ?? "",
    model: null,
    mode_id: null,
    thinking_option_id: null,
    feature_values: {},
    attachments: [],
    input: "",
    state: "pending",
    error: null,
    stop_reason: null,
    output_summary: null,
    usage: null,
    attempt: 0,
    place: 0,
    cancel_requested: false,
    created_at: record.at,
    started_at: null,
    ended_at: null,
  };
}

function tell(story: Story, records: readonly JournalRecord[]): Story {
  if (records.length === 0) return story;
  const draft: Draft = { ...story, items: [...story.items] };
  for (const record of records) tellOne(draft, record, record.event);
  return { ...draft, records: [...story.records, ...records] };
}

type Draft = { -readonly [Field in keyof Story]: Story[Field] } & { items: Item[] };

function tellOne(draft: Draft, record: JournalRecord, event: AgentEvent): void {
  const told: Told = { key: String(firstOf(record)), at: record.at, agent: record.agent, taskId: record.task_id };
  const agent = record.agent ?? "";
  switch (event.type) {
    case "user_text":
      draft.items.push({ ...told, kind: "prompt", text: event.text, isSteering: firstPromptOf(draft.items, told.taskId) !== null });
      return;
    case "text":
    case "reasoning":
      tellText(draft.items, told, event, record.until ?? record.at);
      return;
    case "tool_call":
    case "tool_update":
      tellTool(draft.items, told, event.tool_call, event.type === "tool_call");
      return;
    case "plan":
      tellPlan(draft.items, told, event.entries);
      return;
    case "permission_requested":
      draft.items.push({ ...told, kind: "permission", request: event.request });
      return;
    case "permission_resolved":
      replaceLast(draft.items, (item) =>
        item.kind === "permission" && item.request.id === event.request_id
          ? { ...item, request: { ...item.request, ...event.outcome, decided_at: record.at } }
          : null,
      );
      return;
    case "change_recorded":
      // What is left of a decided change, or waits for a decision, is told as the same change again.
      if (!retellChange(draft.items, event.change)) tellChange(draft.items, told, event.change);
      return;
    case "change_decided":
      retellChange(draft.items, event.change);
      return;
    case "turn_ended":
      tellEnd(draft.items, told, event);
      return;
    case "error":
      draft.items.push({ ...told, kind: "notice", tone: "bad", text: event.message });
      return;
    case "agent_status":
      if (event.message && (event.status === "crashed" || event.status === "error"))
        draft.items.push({ ...told, kind: "notice", tone: "bad", text: event.message });
      return;
    case "usage":
      draft.usage = { ...draft.usage, [agent]: mergedUsage(draft.usage[agent], event) };
      return;
    case "commands":
      draft.commands = { ...draft.commands, [agent]: event.commands };
      return;
    case "mode":
      draft.modes = { ...draft.modes, [agent]: event.mode_id };
      return;
    case "model":
      draft.models = { ...draft.models, [agent]: event.model_id };
      return;
    case "host_note":
      draft.items.push({ ...told, kind: "notice", tone: "quiet", text: event.text });
      return;
    case "unknown":
      draft.items.push({ ...told, kind: "unknown", raw: event.raw });
      return;
    case "turn_started":
    case "task_queued":
    case "task_updated":
    case "session_updated":
    case "comment_updated":
    case "checkpoint_recorded":
    case "setup_updated":
      return;
    default:
      // A newer host may know more events than this pane: shown folded, never dropped.
      draft.items.push({ ...told, kind: "unknown", raw: event satisfies never });
  }
}

function tellText(items: Item[], told: Told, event: { type: "text" | "reasoning"; text: string; message_id: string | null }, until: string) {
  const last = items.at(-1);
  if (
    last?.kind === event.type &&
    last.messageId === event.message_id &&
    last.taskId === told.taskId &&
    last.agent === told.agent
  ) {
    items[items.length - 1] = { ...last, text: last.text + event.text, until };
  } else {
    items.push({ ...told, kind: event.type, text: event.text, messageId: event.message_id, until });
  }
}

/** A finished call of another turn keeps its card: agents number their calls anew after a restart. */
function tellTool(items: Item[], told: Told, call: ToolCall, isFirst: boolean) {
  const found = replaceLast(items, (item) => {
    if (item.kind !== "tool" || item.call.id !== call.id || item.agent !== told.agent) return null;
    const isOpen = item.call.status === "pending" || item.call.status === "running";
    if (item.taskId !== told.taskId && (isFirst || !isOpen)) return null;
    return { ...item, call, until: told.at, isAbandoned: false };
  });
  if (!found) items.push({ ...told, kind: "tool", call, until: told.at, isAbandoned: false });
}

function tellPlan(items: Item[], told: Told, entries: readonly PlanEntry[]) {
  const found = replaceLast(items, (item) =>
    item.kind === "plan" && item.taskId === told.taskId ? { ...item, entries } : null,
  );
  if (!found && entries.length) items.push({ ...told, kind: "plan", entries });
}

function retellChange(items: Item[], change: Change): boolean {
  return replaceLast(items, (item) =>
    item.kind === "changes" && item.changes.some(({ id }) => id === change.id)
      ? { ...item, changes: item.changes.map((known) => (known.id === change.id ? change : known)) }
      : null,
  );
}

function tellChange(items: Item[], told: Told, change: Change) {
  const last = items.at(-1);
  if (last?.kind === "changes" && last.taskId === told.taskId) {
    items[items.length - 1] = { ...last, changes: [...last.changes.filter(({ id }) => id !== change.id), change] };
  } else {
    items.push({ ...told, kind: "changes", changes: [change] });
  }
}

function firstPromptOf(items: readonly Item[], taskId: string | null): PromptItem | null {
  const found = items.find((item) => item.kind === "prompt" && item.taskId === taskId && taskId !== null);
  return found?.kind === "prompt" ? found : null;
}

function tellEnd(items: Item[], told: Told, event: Extract<AgentEvent, { type: "turn_ended" }>) {
  // Its words are in the turn that it joined; it had none of its own.
  if (event.stop_reason === STEERED) return;
  const prompt = firstPromptOf(items, event.task_id);
  for (let at = items.length - 1; at >= 0; at -= 1) {
    const item = items[at];
    if (item?.taskId !== event.task_id) continue;
    if (item === prompt) break;
    if (item.kind === "tool" && (item.call.status === "pending" || item.call.status === "running"))
      items[at] = { ...item, isAbandoned: true };
  }
  items.push({
    ...told,
    kind: "turn",
    taskId: event.task_id,
    state: event.state,
    stopReason: event.stop_reason,
    error: event.error,
    usage: event.usage,
    startedAt: prompt?.at ?? null,
    input: prompt?.text ?? null,
  });
}

function mergedUsage(known: Usage | undefined, event: Usage): Usage {
  return {
    context_used: event.context_used ?? known?.context_used ?? null,
    context_size: event.context_size ?? known?.context_size ?? null,
    input_tokens: event.input_tokens ?? known?.input_tokens ?? null,
    output_tokens: event.output_tokens ?? known?.output_tokens ?? null,
    cost: event.cost ?? known?.cost ?? null,
  };
}

/** Replace the newest item for which `change` has an answer; says whether there was one. */
function replaceLast(items: Item[], change: (item: Item) => Item | null): boolean {
  for (let at = items.length - 1; at >= 0; at -= 1) {
    const item = items[at];
    const next = item ? change(item) : null;
    if (next) {
      items[at] = next;
      return true;
    }
  }
  return false;
}

/** What sending a prompt to an agent now does to the turn that runs: join it or end it. Null where none runs. */
export function urgencyOf(facts: Facts, agent: string): "steer" | "interrupt" | null {
  const running = Object.values(facts.tasks).find((task) => task.state === "running");
  if (!running) return null;
  const worker = facts.agents[running.agent];
  const takesInput = worker?.canSteer === true && worker.status === "working" && !running.cancel_requested;
  return takesInput && running.agent === agent ? "steer" : "interrupt";
}

/** The prompts that wait, in the order of their turns. */
export function queueOf(facts: Facts): Task[] {
  return Object.values(facts.tasks)
    .filter((task) => task.state === "pending" || task.state === "blocked")
    .toSorted((a, b) => a.place - b.place);
}
