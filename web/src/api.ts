// Calls of the host's HTTP API.

import type {
  AgentSession,
  ApplyChange,
  ApplyChanges,
  BranchCommit,
  BranchIncoming,
  BranchStatus,
  BranchUpdate,
  Change,
  ChangeDetail,
  ChangeLines,
  Checkpoint,
  CheckpointDetail,
  Comment,
  CommentStatus,
  Decision,
  Diagnostic,
  Draft,
  Folder,
  FoundFile,
  Health,
  JournalRecord,
  NewComment,
  NewCommit,
  Page,
  PermissionRequest,
  Problem,
  Project,
  ProviderPage,
  RejectChange,
  RejectChanges,
  Review,
  Session,
  SessionPatch,
  Setup,
  SocketTicket,
  Task,
  TaskPatch,
  TrustedSetup,
} from "./protocol.ts";

/** What the host said when it refused, or that it could not be reached (status 0). */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryable: boolean,
    /** The refusal's own data. */
    readonly fields: Problem["fields"] = null,
  ) {
    super(message);
  }
}

const PAGE = 500;
const LINES_AT_ONCE = 5000;

/** Where the host answers: beside the page, which may lie below a path of a reverse proxy. */
export function placeOf(path: string, page = document.baseURI): URL {
  return new URL(`.${path}`, page);
}

async function call<Answer>(method: string, path: string, body?: unknown, key?: string): Promise<Answer> {
  const response = await answered(method, path, body, key);
  return (response.status === 204 ? undefined : await response.json()) as Answer;
}

async function answered(method: string, path: string, body?: unknown, key?: string): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json, text/plain, text/x-patch" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  let response: Response;
  try {
    response = await fetch(placeOf(path), {
      method,
      headers,
      credentials: "same-origin",
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new Refusal(0, "unreachable", "The host cannot be reached.", true);
  }
  if (!response.ok) throw await refusalOf(response);
  return response;
}

async function refusalOf(response: Response): Promise<Refusal> {
  try {
    const problem = (await response.json()) as Problem;
    return new Refusal(response.status, problem.code, problem.detail, problem.retryable, problem.fields ?? null);
  } catch {
    return new Refusal(response.status, "http_error", `The host answered ${response.status}.`, response.status >= 500);
  }
}

async function all<Item>(path: string): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | null = null;
  do {
    const query: string = `${path.includes("?") ? "&" : "?"}limit=${PAGE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`;
    const page: Page<Item> = await call("GET", path + query);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return items;
}

const part = encodeURIComponent;

export type PatchPart = "all" | "applied" | "pending";

/** Whether the pane stands in a page of somebody else. */
export function isFramed(): boolean {
  return window.parent !== window;
}

export const api = {
  health: () => call<Health>("GET", "/api/health"),
  logIn: (token: string) => call<void>("POST", "/api/login", { token, in_frame: isFramed() }),
  ticket: () => call<SocketTicket>("POST", "/api/tickets", {}),
  logOut: () => call<void>("POST", "/api/logout", {}),
  projects: () => all<Project>("/api/projects"),
  registerProject: (repoPath: string) => call<Project>("POST", "/api/projects", { repo_path: repoPath }),
  sessions: () => all<Session>("/api/sessions"),
  openSession: (projectId: string, name: string | null, key: string) =>
    call<Session>("POST", "/api/sessions", { project_id: projectId, name }, key),
  editSession: (id: string, patch: SessionPatch) => call<Session>("PATCH", `/api/sessions/${part(id)}`, patch),
  closeSession: (id: string, force: boolean, keepsBranch: boolean) =>
    call<void>("DELETE", `/api/sessions/${part(id)}?force=${force ? 1 : 0}&keep_branch=${keepsBranch ? 1 : 0}`),
  warm: (id: string, agent: string) => call<AgentSession>("POST", `/api/sessions/${part(id)}/agent-sessions/${part(agent)}/warm`, {}),
  actOnSetup: (id: string, action: "run" | "skip") => call<Setup>("POST", `/api/sessions/${part(id)}/setup`, { action }),
  trustSetup: (projectId: string, digest: string) =>
    call<TrustedSetup>("POST", `/api/projects/${part(projectId)}/trust`, { digest }),
  files: async (id: string, query: string, limit: number) =>
    (await call<Page<FoundFile>>("GET", `/api/sessions/${part(id)}/files?limit=${limit}&query=${part(query)}`)).items,
  folder: (id: string, path: string) => call<Folder>("GET", `/api/sessions/${part(id)}/folder?path=${part(path)}`),
  file: async (id: string, path: string) => (await answered("GET", `/api/sessions/${part(id)}/file?path=${part(path)}`)).text(),
  branch: (id: string) => call<BranchStatus>("GET", `/api/sessions/${part(id)}/branch`),
  commit: (id: string, body: NewCommit, key: string) => call<BranchCommit>("POST", `/api/sessions/${part(id)}/commit`, body, key),
  updateBranch: (id: string, body: BranchIncoming, key: string) =>
    call<BranchUpdate>("POST", `/api/sessions/${part(id)}/branch/update`, body, key),
  /** A patch for `git apply`, byte for byte. */
  patch: async (id: string, changes: PatchPart) => (await answered("GET", `/api/sessions/${part(id)}/patch?changes=${changes}`)).blob(),
  draft: (id: string) => call<Draft>("GET", `/api/sessions/${part(id)}/draft`),
  writeDraft: (id: string, text: string) => call<Draft>("PATCH", `/api/sessions/${part(id)}/draft`, { text }),
  editTask: (id: string, patch: TaskPatch) => call<Task>("PATCH", `/api/tasks/${part(id)}`, patch),
  /** The newest tasks of all sessions, newest first. */
  recentTasks: async () => (await call<Page<Task>>("GET", `/api/tasks?limit=${PAGE}`)).items,
  waitingPermissions: () => all<PermissionRequest>("/api/permissions?status=pending"),
  /** The newest records before a number, oldest first. */
  records: async (id: string, before: number, limit: number) =>
    (await call<Page<JournalRecord>>("GET", `/api/sessions/${part(id)}/events?before=${before}&limit=${limit}`)).items,
  /** The newest changes of a session, whatever became of them. */
  recentChanges: async (id: string) => (await call<Page<Change>>("GET", `/api/sessions/${part(id)}/changes?limit=${PAGE}`)).items,
  change: (id: string) => call<ChangeDetail>("GET", `/api/changes/${part(id)}`),
  /** Lines of a change's new side, `first` counted from 1. */
  changeLines: (id: string, first: number, count: number) =>
    call<ChangeLines>("GET", `/api/changes/${part(id)}/lines?first=${first}&count=${Math.min(count, LINES_AT_ONCE)}`),
  apply: (id: string, body: ApplyChange, key: string) => call<Change>("POST", `/api/changes/${part(id)}/apply`, body, key),
  reject: (id: string, body: RejectChange, key: string) => call<Change>("POST", `/api/changes/${part(id)}/reject`, body, key),
  revert: (id: string, key: string) => call<Change>("POST", `/api/changes/${part(id)}/revert`, {}, key),
  applyAll: async (id: string, body: ApplyChanges, key: string) =>
    (await call<Page<Change>>("POST", `/api/sessions/${part(id)}/changes/apply`, body, key)).items,
  rejectAll: async (id: string, body: RejectChanges, key: string) =>
    (await call<Page<Change>>("POST", `/api/sessions/${part(id)}/changes/reject`, body, key)).items,
  /** The newest decisions of a session, newest first. */
  decisions: async (id: string) => (await call<Page<Decision>>("GET", `/api/sessions/${part(id)}/decisions?limit=${PAGE}`)).items,
  withdrawDecision: (id: string) => call<Decision>("DELETE", `/api/decisions/${part(id)}`),
  /** The newest checkpoints of a session, newest first. */
  checkpoints: async (id: string) =>
    (await call<Page<Checkpoint>>("GET", `/api/sessions/${part(id)}/checkpoints?limit=${PAGE}`)).items,
  checkpoint: (id: string) => call<CheckpointDetail>("GET", `/api/checkpoints/${part(id)}`),
  restore: (id: string, key: string) => call<Checkpoint>("POST", `/api/checkpoints/${part(id)}/restore`, {}, key),
  /** The newest threads of a session, newest first. */
  comments: async (id: string) => (await call<Page<Comment>>("GET", `/api/sessions/${part(id)}/comments?limit=${PAGE}`)).items,
  comment: (changeId: string, body: NewComment, key: string) =>
    call<Comment>("POST", `/api/changes/${part(changeId)}/comments`, body, key),
  reply: (id: string, body: string, key: string) => call<Comment>("POST", `/api/comments/${part(id)}/replies`, { body }, key),
  settleComment: (id: string, status: Exclude<CommentStatus, "outdated">) =>
    call<Comment>("PATCH", `/api/comments/${part(id)}`, { status }),
  sendReview: (id: string, body: Review, key: string) => call<Task>("POST", `/api/sessions/${part(id)}/review`, body, key),
  providers: () => call<ProviderPage>("GET", "/api/providers/snapshot"),
  refreshProviders: (ids: string[] | null) => call<ProviderPage>("POST", "/api/providers/refresh", { providers: ids }),
  diagnostic: (id: string) => call<Diagnostic>("GET", `/api/providers/${part(id)}/diagnostic`),
  enableProvider: (id: string, enabled: boolean) =>
    call<unknown>("PATCH", "/api/providers/config?merge=fields", { providers: { [id]: { enabled } } }),
};

/** Words for a person, whatever was thrown. */
export function wordsOf(error: unknown): string {
  const words = error instanceof Error ? error.message : String(error);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A key that stands for one wish: sent again, it is carried out once. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `pane-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
