// What the host tells and the pane follows: the login, the lists, and the live link with its records.

import { Refusal, api, isFramed, placeOf, wordsOf } from "./api.ts";
import { Beat } from "./beat.ts";
import { beginOf, byId, fold, foldFacts, freshOf, prepend, viewOf, type Facts } from "./fold.ts";
import { LatePlug } from "./plug.ts";
import type { Ack, JournalRecord, Session, SnapshotFrame } from "./protocol.ts";
import { refreshProviders } from "./providers.ts";
import { Socket, type Command, type Plug } from "./socket.ts";
import { doing, usePane } from "./store.ts";

const { getState: pane, setState: set } = usePane;

/** How many sessions are followed at once; the host allows 64. */
const FOLLOWED = 40;
const OLDER = 500;
const LISTS_EVERY = 2_000;

const wanted = new Set<string>();
const followed = new Set<string>();
const buffers = new Map<string, JournalRecord[]>();
/** Where the live link is, if not beside the pane. */
let socketUrl: string | null = null;

const socket = new Socket({
  open: (protocol) => {
    if (socketUrl) return elsewhere(socketUrl, protocol);
    const url = placeOf("/api/ws");
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

/** Cookies do not reach another origin: there a ticket opens the door. */
function elsewhere(url: string, protocol: string): Plug {
  const open = async () => new WebSocket(url, [protocol, `coder.ticket.${(await api.ticket()).ticket}`]) as unknown as Plug;
  return new LatePlug(open, (error) => (error instanceof Refusal && error.status === 401 ? 4401 : 1006));
}

// Logging in

/** Open the pane: trade the token in the address for a cookie, then load and follow everything. */
export async function begin(): Promise<void> {
  usePane.subscribe(({ screen }, before) => screen === "login" && before.screen !== "login" && socket.stop());
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
  if (isFramed() && (await isLoggedIn()) === false) {
    askForLogin("The browser keeps no login in this frame: on another site that takes https.");
    return;
  }
  await enter();
}

export async function logOut(): Promise<void> {
  await api.logOut().catch(() => undefined);
  askForLogin(null);
}

function askForLogin(trouble: string | null): void {
  set({ screen: "login", trouble });
}

async function enter(): Promise<void> {
  socketUrl = (await api.health().catch(() => null))?.socket_url ?? null;
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
      movedAt: session.last_seq,
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

export function forget(id: string, words: string): void {
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

/** Records wait for a painted frame, so that a fast agent costs one render, not hundreds. */
function hear(id: string, records: readonly JournalRecord[]): boolean {
  const position = positionOf(id);
  if (position === null) return true;
  const fresh = freshOf(position, records);
  if (fresh.records.length) {
    buffers.set(id, [...(buffers.get(id) ?? []), ...fresh.records]);
    beat.soon();
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

const beat = new Beat(flush, {
  isHidden: () => document.hidden,
  onFrame: (run) => requestAnimationFrame(run),
  onTimer: (run, delay) => setTimeout(run, delay),
});

function flush(): void {
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

/** Load a session from its beginning. */
export async function loadAll(id: string): Promise<void> {
  for (let known = -1; pane().views[id]?.hasMore; ) {
    await quiet(`older:${id}`);
    const view = pane().views[id];
    const first = view ? beginOf(view) : 0;
    if (first === known) return;
    known = first;
    await loadOlder(id);
  }
}

/** Until nobody is at this deed. */
function quiet(deed: string): Promise<void> {
  const isBusy = () => pane().deeds[deed]?.state === "busy";
  return new Promise((done) => {
    if (!isBusy()) return done();
    const end = usePane.subscribe(() => {
      if (isBusy()) return;
      end();
      done();
    });
  });
}

export async function loadOlder(id: string): Promise<void> {
  const view = pane().views[id];
  if (!view?.hasMore) return;
  await doing(`older:${id}`, async () => {
    const older = await api.records(id, beginOf(view), OLDER);
    const now = pane().views[id];
    if (now) set({ views: { ...pane().views, [id]: prepend(now, older) } });
  });
}

// The page

/** Keep lists current while the page is looked at, and the link awake when it comes back. */
export function keepCurrent(): () => void {
  const timer = setInterval(() => {
    if (!document.hidden) void refreshLists();
  }, LISTS_EVERY);
  const wake = () => {
    if (document.hidden) return beat.now();
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

/** Carry out a command over the live link, now or as soon as there is one. */
export function tell(frame: Command): Promise<Ack> {
  return socket.command(frame);
}

export function connectNow(): void {
  socket.nudge();
}
