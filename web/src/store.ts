// Everything the pane knows, and the actions that change it. React only reads it.

import { create } from "zustand";

import { Refusal, api, newKey, wordsOf } from "./api.ts";
import { activityOf, byId, fold, foldFacts, freshOf, prepend, viewOf, type Activity, type Facts, type View } from "./fold.ts";
import type {
  Change,
  JournalRecord,
  Project,
  PromptFrame,
  ProviderSnapshot,
  Session,
  Setup,
  SnapshotFrame,
  Task,
} from "./protocol.ts";
import { CommandRefused, Socket, type Link, type Plug } from "./socket.ts";

/** A session that is followed but not looked at: its rows are kept current, its story is not. */
interface Pulse {
  readonly seq: number;
  readonly facts: Facts;
}

/** A prompt on its way; it leaves the list when the host has accepted it. */
export interface Outgoing {
  readonly frame: PromptFrame;
  readonly words: string | null;
}

/** What happened to a button that was pressed: under way, or refused in words. */
export type Deed = { state: "busy" } | { state: "refused"; words: string };

export interface Pane {
  screen: "starting" | "login" | "ready";
  trouble: string | null;
  link: Link;
  projects: readonly Project[];
  sessions: readonly Session[];
  providers: readonly ProviderSnapshot[] | null;
  pulses: Readonly<Record<string, Pulse>>;
  views: Readonly<Record<string, View>>;
  gone: Readonly<Record<string, string>>;
  outbox: readonly Outgoing[];
  deeds: Readonly<Record<string, Deed>>;
}

export const usePane = create<Pane>(() => ({
  screen: "starting",
  trouble: null,
  link: { state: "connecting" },
  projects: [],
  sessions: [],
  providers: null,
  pulses: {},
  views: {},
  gone: {},
  outbox: [],
  deeds: {},
}));

const { getState: pane, setState: set } = usePane;

/** How many sessions are followed at once; the host allows 64. */
const FOLLOWED = 40;
const OLDER = 300;
const LISTS_EVERY = 2_000;
const PROVIDERS_EVERY = 1_500;

const wanted = new Set<string>();
const followed = new Set<string>();
const buffers = new Map<string, JournalRecord[]>();
let flushing = false;

const socket = new Socket({
  open: (protocol) => {
    const url = new URL("/api/ws", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return new WebSocket(url, protocol) as unknown as Plug;
  },
  isLoggedIn,
  onLink: (link) => {
    set({ link });
    if (link.state === "closed" && link.why === "login") askForLogin(null);
    if (link.state === "online") void refreshLists();
  },
  onSnapshot: show,
  onRecords: hear,
  position: positionOf,
  onRefusal: (frame) => {
    const id = frame.session_id;
    if (id && frame.code === "not_found") forget(id, frame.message);
    else if (id && frame.retryable) setTimeout(() => followed.has(id) && socket.follow(id), 2_000);
  },
});

// Logging in

/** Open the pane: trade the token in the address for a cookie, then load and follow everything. */
export async function begin(): Promise<void> {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) {
    history.replaceState(null, "", location.pathname + location.search);
    await logIn(token);
    return;
  }
  const answer = await isLoggedIn();
  if (answer === false) askForLogin(null);
  else await enter();
}

/** Trade a token, or the login link that holds it, for a cookie. */
export async function logIn(offered: string): Promise<void> {
  const token = /[#&]token=([^&]+)/.exec(offered)?.[1] ?? offered.trim();
  try {
    await api.logIn(token);
  } catch (error) {
    const isWrong = error instanceof Refusal && (error.status === 401 || error.status === 422);
    askForLogin(isWrong ? "That token is not the one of this host." : wordsOf(error));
    return;
  }
  await enter();
}

export async function logOut(): Promise<void> {
  await api.logOut().catch(() => undefined);
  askForLogin(null);
}

function askForLogin(trouble: string | null): void {
  socket.stop();
  set({ screen: "login", trouble });
}

async function enter(): Promise<void> {
  set({ screen: "ready", trouble: null });
  socket.start();
  await Promise.all([refreshLists(), refreshProviders()]);
}

async function isLoggedIn(): Promise<boolean | null> {
  try {
    await api.projects();
    return true;
  } catch (error) {
    return error instanceof Refusal && error.status === 401 ? false : null;
  }
}

// Lists

let isListing = false;

export async function refreshLists(): Promise<void> {
  if (isListing || pane().screen !== "ready") return;
  isListing = true;
  try {
    const [projects, sessions] = await Promise.all([api.projects(), api.sessions()]);
    set({ projects, sessions, trouble: null });
    const missing = sessions.filter(({ id }) => !pane().views[id] && !followed.has(id));
    if (missing.length) await takePulses(missing);
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) askForLogin(null);
    else set({ trouble: wordsOf(error) });
  } finally {
    isListing = false;
  }
}

/** Press a button of a worktree's setup; what comes of it is told by records. */
export const actOnSetup = (setup: Setup, projectId: string, action: "trust" | "run" | "skip") =>
  doing(`setup:${setup.session_id}`, async () => {
    if (action === "trust") await api.trustSetup(projectId, setup.digest ?? "");
    if (action !== "trust" || setup.state !== "untrusted")
      await api.actOnSetup(setup.session_id, action === "skip" ? "skip" : "run");
  });

async function takePulses(sessions: readonly Session[]): Promise<void> {
  const [tasks, permissions] = await Promise.all([api.recentTasks(), api.waitingPermissions()]);
  const pulses = { ...pane().pulses };
  for (const session of sessions) {
    const own = <Row extends { session_id: string }>(row: Row) => row.session_id === session.id;
    const facts: Facts = {
      session,
      agents: {},
      tasks: byId(tasks.filter(own)),
      permissions: byId(permissions.filter(own)),
      changes: {},
      setup: null,
      comments: {},
    };
    pulses[session.id] = { seq: session.last_seq, facts };
  }
  set({ pulses });
  const newest = [...sessions].sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1));
  for (const { id } of newest) if (followed.size < FOLLOWED) follow(id);
}

function follow(id: string): void {
  followed.add(id);
  socket.follow(id);
}

/** Look at a session: its story is loaded and stays loaded. */
export function look(id: string): void {
  if (wanted.has(id)) return;
  wanted.add(id);
  buffers.delete(id);
  follow(id);
}

function forget(id: string, words: string): void {
  socket.unfollow(id);
  followed.delete(id);
  wanted.delete(id);
  buffers.delete(id);
  const { [id]: _view, ...views } = pane().views;
  const { [id]: _pulse, ...pulses } = pane().pulses;
  set({ views, pulses, gone: { ...pane().gone, [id]: words }, sessions: pane().sessions.filter((one) => one.id !== id) });
}

// Frames

function positionOf(id: string): number | null {
  const buffered = buffers.get(id)?.at(-1)?.seq;
  if (buffered !== undefined) return buffered;
  const view = pane().views[id];
  if (view) return view.seq;
  return wanted.has(id) ? null : (pane().pulses[id]?.seq ?? null);
}

function show(snapshot: SnapshotFrame): void {
  buffers.delete(snapshot.session_id);
  const view = viewOf(snapshot);
  if (wanted.has(snapshot.session_id)) {
    set({ views: { ...pane().views, [snapshot.session_id]: view } });
  } else {
    set({ pulses: { ...pane().pulses, [snapshot.session_id]: { seq: view.seq, facts: view.facts } } });
  }
}

/** Records wait for the next painted frame, so that a fast agent costs one render, not hundreds. */
function hear(id: string, records: readonly JournalRecord[]): boolean {
  const position = positionOf(id);
  if (position === null) return true;
  const fresh = freshOf(position, records);
  if (fresh.records.length) {
    buffers.set(id, [...(buffers.get(id) ?? []), ...fresh.records]);
    flushSoon();
    if (fresh.records.some(tellsOfLogin)) void refreshProviders();
  }
  return !fresh.hasGap;
}

/** The turn's end shows that its agent is signed out, or is so no longer. */
function tellsOfLogin({ agent, event }: JournalRecord): boolean {
  if (event.type !== "turn_ended") return false;
  if (event.error?.code === "auth_required") return true;
  return event.state === "completed" && !!pane().providers?.some((one) => one.id === agent && one.signed_in === false);
}

function flushSoon(): void {
  if (flushing) return;
  flushing = true;
  if (document.hidden) setTimeout(flush, 50);
  else requestAnimationFrame(flush);
}

function flush(): void {
  flushing = false;
  const views = { ...pane().views };
  const pulses = { ...pane().pulses };
  for (const [id, records] of buffers) {
    const view = views[id];
    const pulse = pulses[id];
    if (view) views[id] = fold(view, records).view;
    else if (pulse) pulses[id] = { seq: records.at(-1)?.seq ?? pulse.seq, facts: foldFacts(pulse.facts, records) };
  }
  buffers.clear();
  set({ views, pulses });
}

export async function loadOlder(id: string): Promise<void> {
  const view = pane().views[id];
  if (!view?.hasMore) return;
  await doing(`older:${id}`, async () => {
    const first = view.story.records[0]?.seq ?? view.seq + 1;
    const after = Math.max(0, first - 1 - OLDER);
    const older = await api.records(id, after, Math.min(OLDER, first - 1 - after));
    const now = pane().views[id];
    if (now) set({ views: { ...pane().views, [id]: prepend(now, older) } });
  });
}

// Deeds

/** Carry something out and keep its state under `name`, for the button that asked for it. Says whether it worked. */
export async function doing(name: string, deed: () => Promise<void>): Promise<boolean> {
  if (pane().deeds[name]?.state === "busy") return false;
  set({ deeds: { ...pane().deeds, [name]: { state: "busy" } } });
  try {
    await deed();
    dismiss(name);
    return true;
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) askForLogin(null);
    set({ deeds: { ...pane().deeds, [name]: { state: "refused", words: wordsOf(error) } } });
    return false;
  }
}

export function dismiss(name: string): void {
  const { [name]: _done, ...deeds } = pane().deeds;
  set({ deeds });
}

export function prompt(wish: Omit<PromptFrame, "type" | "id">): void {
  send({ type: "prompt", id: newKey(), ...wish });
}

function send(frame: PromptFrame): void {
  set({ outbox: [...pane().outbox.filter((one) => one.frame.id !== frame.id), { frame, words: null }] });
  socket.command(frame).then(
    (ack) => {
      withdraw(frame.id);
      if (ack.result && "input" in ack.result) noteTask(ack.result);
    },
    (error: unknown) => {
      const words = wordsOf(error);
      set({ outbox: pane().outbox.map((one) => (one.frame.id === frame.id ? { ...one, words } : one)) });
    },
  );
}

/** Send a refused prompt once more. */
export function sendAgain(outgoing: Outgoing): void {
  send(outgoing.frame);
}

export function withdraw(id: string): void {
  set({ outbox: pane().outbox.filter((one) => one.frame.id !== id) });
}

/** The answer may arrive before the record that tells the same. */
function noteTask(task: Task): void {
  const view = pane().views[task.session_id];
  if (!view || view.facts.tasks[task.id]) return;
  const facts = { ...view.facts, tasks: { ...view.facts.tasks, [task.id]: task } };
  set({ views: { ...pane().views, [task.session_id]: { ...view, facts } } });
}

/** Give a waiting prompt its turn before another one. */
export const place = (taskId: string, before: string) =>
  doing(`place:${taskId}`, async () => {
    await api.editTask(taskId, { before });
  });

/** Let a waiting prompt go now. */
export const hurry = (taskId: string, when: "steer" | "interrupt") =>
  doing(`place:${taskId}`, async () => {
    await api.editTask(taskId, { when });
  });

export const cancel = (taskId: string) =>
  doing(`cancel:${taskId}`, async () => {
    await socket.command({ type: "cancel", id: newKey(), task_id: taskId });
  });

export const answer = (requestId: string, optionId: string) =>
  doing(`answer:${requestId}`, async () => {
    try {
      await socket.command({ type: "permission", id: newKey(), request_id: requestId, option_id: optionId });
    } catch (error) {
      // Someone else was faster: the record of their answer says so.
      if (!(error instanceof CommandRefused && error.frame.code === "wrong_state")) throw error;
    }
  });

export const decide = (change: Change, word: "apply" | "reject" | "revert") =>
  doing(`change:${change.id}`, async () => {
    noteChanges(change.session_id, [await api.decide(change.id, word, newKey())]);
  });

export const decideAll = (sessionId: string, word: "apply" | "reject") =>
  doing(`changes:${sessionId}`, async () => {
    noteChanges(sessionId, (await api.decideAll(sessionId, word, newKey())).items);
  });

function noteChanges(sessionId: string, changes: readonly Change[]): void {
  const view = pane().views[sessionId];
  if (!view) return;
  const known = view.facts.changes;
  const newer = changes.filter(({ id, decided_at }) => (decided_at ?? "") > (known[id]?.decided_at ?? ""));
  const facts = { ...view.facts, changes: { ...known, ...byId(newer) } };
  set({ views: { ...pane().views, [sessionId]: { ...view, facts } } });
}

export async function openSession(projectId: string, name: string, key: string): Promise<Session> {
  const session = await api.openSession(projectId, name.trim() || null, key);
  set({ sessions: [session, ...pane().sessions.filter(({ id }) => id !== session.id)] });
  return session;
}

export async function registerProject(path: string): Promise<Project> {
  const project = await api.registerProject(path.trim());
  set({ projects: [...pane().projects.filter(({ id }) => id !== project.id), project] });
  return project;
}

export const renameSession = (id: string, name: string) =>
  doing(`session:${id}`, async () => {
    const session = await api.renameSession(id, name);
    set({ sessions: pane().sessions.map((one) => (one.id === id ? session : one)) });
  });

export const closeSession = (id: string, force: boolean) =>
  doing(`session:${id}`, async () => {
    await api.closeSession(id, force);
    forget(id, "This session was closed.");
  });

// Providers

let providerTimer: ReturnType<typeof setTimeout> | undefined;

let isProvidersStale = false;

/** Ask for every provider anew; asked for while an answer is on its way, it is asked once more after that. */
export async function refreshProviders(): Promise<void> {
  clearTimeout(providerTimer);
  if (pane().deeds.providers?.state === "busy") {
    isProvidersStale = true;
    return;
  }
  isProvidersStale = false;
  await doing("providers", async () => {
    noteProviders(await api.providers());
  });
  if (isProvidersStale) await refreshProviders();
}

export const probeProviders = (id: string | null) =>
  doing(id === null ? "probe" : `probe:${id}`, async () => {
    const found = byId(await api.refreshProviders(id === null ? null : [id]));
    const known = pane().providers ?? [];
    noteProviders(known.length ? known.map((one) => found[one.id] ?? one) : Object.values(found));
  });

export const enableProvider = (id: string, enabled: boolean) =>
  doing(`provider:${id}`, async () => {
    await api.enableProvider(id, enabled);
    noteProviders(await api.providers());
  });

function noteProviders(providers: readonly ProviderSnapshot[]): void {
  set({ providers });
  clearTimeout(providerTimer);
  if (providers.some((provider) => provider.status === "loading" && provider.enabled)) {
    providerTimer = setTimeout(() => void refreshProviders(), PROVIDERS_EVERY);
  }
}

// What a person sees at a glance

export function activityIn(state: Pane, id: string): Activity {
  const facts = state.views[id]?.facts ?? state.pulses[id]?.facts;
  return facts ? activityOf(facts) : "idle";
}

export function sessionIn(state: Pane, id: string): Session | undefined {
  return (
    state.views[id]?.facts.session ?? state.pulses[id]?.facts.session ?? state.sessions.find((one) => one.id === id)
  );
}

// The page

/** Keep lists current while the page is looked at, and the link awake when it comes back. */
export function keepCurrent(): () => void {
  const timer = setInterval(() => {
    if (!document.hidden) void refreshLists();
  }, LISTS_EVERY);
  const wake = () => {
    if (document.hidden) return;
    socket.nudge();
    void refreshLists();
  };
  document.addEventListener("visibilitychange", wake);
  window.addEventListener("online", wake);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", wake);
    window.removeEventListener("online", wake);
  };
}

export function connectNow(): void {
  socket.nudge();
}
