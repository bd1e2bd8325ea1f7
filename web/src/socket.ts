// The live link to the host: one WebSocket, opened again when it drops, resumed by number.
// It knows frames and time, not React and not what records mean.

import {
  SUBPROTOCOL,
  type Ack,
  type Cancel,
  type ClientFrame,
  type ErrorFrame,
  type JournalRecord,
  type PermissionFrame,
  type PromptFrame,
  type ServerFrame,
  type SnapshotFrame,
} from "./protocol.ts";

export type Command = PromptFrame | PermissionFrame | Cancel;

export type Link =
  | { state: "connecting" }
  | { state: "online"; version: string }
  | { state: "waiting"; why: string; retryAt: number }
  | { state: "closed"; why: "login" | "refused" };

export interface Plug {
  readonly readyState: number;
  onopen: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: ((close: { code: number }) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface SocketOptions {
  open(protocol: string): Plug;
  /** Asked when the link ends before it began: is it the login, or is the host away? */
  isLoggedIn(): Promise<boolean | null>;
  onLink(link: Link): void;
  onSnapshot(snapshot: SnapshotFrame): void;
  /** Says whether the records followed without a gap. */
  onRecords(sessionId: string, records: readonly JournalRecord[]): boolean;
  /** The newest number known of a session; null asks for a snapshot. */
  position(sessionId: string): number | null;
  /** A refusal that belongs to no command, such as a session that is gone. */
  onRefusal(frame: ErrorFrame): void;
  random?(): number;
}

export class CommandRefused extends Error {
  constructor(readonly frame: ErrorFrame) {
    super(frame.message);
  }
}

interface Waiting {
  frame: Command;
  done(ack: Ack): void;
  refuse(error: CommandRefused): void;
}

const FIRST_DELAY = 500;
const LONGEST_DELAY = 15_000;
const WELCOME_DEADLINE = 10_000;
const SILENT_HEARTBEATS = 2.5;
const OPEN = 1;

export class Socket {
  #options: SocketOptions;
  #plug: Plug | null = null;
  #isWelcome = false;
  #attempt = 0;
  #heartbeat = 20_000;
  #epoch: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  /** Each session followed, with the epoch its position was learnt under. */
  #followed = new Map<string, string | null>();
  #waiting = new Map<string, Waiting>();
  #isStopped = true;

  constructor(options: SocketOptions) {
    this.#options = options;
  }

  start(): void {
    this.#isStopped = false;
    this.#attempt = 0;
    this.#connect();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#drop();
  }

  /** Try now instead of at the end of the delay; when online, make sure that it still is. */
  nudge(): void {
    if (this.#isStopped) return;
    if (this.#isWelcome) {
      this.#send({ type: "ping" });
      this.#expectWithin(Math.min(5_000, this.#heartbeat));
    } else if (!this.#plug) {
      clearTimeout(this.#timer);
      this.#connect();
    }
  }

  follow(sessionId: string): void {
    this.#followed.set(sessionId, this.#followed.get(sessionId) ?? null);
    this.#subscribe(sessionId);
  }

  unfollow(sessionId: string): void {
    if (this.#followed.delete(sessionId)) this.#send({ type: "unsubscribe", session_id: sessionId });
  }

  /** Sent now or as soon as there is a link, and again with the same id after each new one, until it is answered. */
  command(frame: Command): Promise<Ack> {
    return new Promise((done, refuse) => {
      this.#waiting.set(frame.id, { frame, done, refuse });
      this.#send(frame);
    });
  }

  #connect(): void {
    this.#options.onLink({ state: "connecting" });
    const plug = this.#options.open(SUBPROTOCOL);
    this.#plug = plug;
    this.#expectWithin(WELCOME_DEADLINE);
    plug.onmessage = ({ data }) => {
      if (plug === this.#plug && typeof data === "string") this.#receive(JSON.parse(data) as ServerFrame);
    };
    plug.onclose = ({ code }) => {
      if (plug === this.#plug) void this.#closed(code);
    };
  }

  #receive(frame: ServerFrame): void {
    this.#expectWithin(this.#isWelcome ? this.#heartbeat * SILENT_HEARTBEATS : WELCOME_DEADLINE);
    switch (frame.type) {
      case "welcome":
        this.#greet(frame);
        return;
      case "snapshot":
        this.#followed.set(frame.session_id, this.#epoch);
        this.#options.onSnapshot(frame);
        return;
      case "events":
        this.#hear(frame.session_id, frame.records);
        return;
      case "lagged":
        this.#subscribe(frame.session_id);
        return;
      case "ack":
        this.#settle(frame.id)?.done(frame);
        return;
      case "error": {
        const waiting = frame.id === null || frame.id === undefined ? undefined : this.#settle(frame.id);
        if (waiting) waiting.refuse(new CommandRefused(frame));
        else this.#options.onRefusal(frame);
        return;
      }
      case "ping":
        this.#send({ type: "pong" });
        return;
      case "pong":
        return;
    }
  }

  #greet(welcome: Extract<ServerFrame, { type: "welcome" }>): void {
    this.#isWelcome = true;
    this.#attempt = 0;
    this.#epoch = welcome.epoch;
    this.#heartbeat = welcome.heartbeat_s * 1000;
    this.#expectWithin(this.#heartbeat * SILENT_HEARTBEATS);
    this.#options.onLink({ state: "online", version: welcome.version });
    for (const sessionId of this.#followed.keys()) this.#subscribe(sessionId);
    for (const { frame } of this.#waiting.values()) this.#send(frame);
  }

  #hear(sessionId: string, records: readonly JournalRecord[]): void {
    if (!this.#followed.has(sessionId)) return;
    if (this.#options.onRecords(sessionId, records)) this.#followed.set(sessionId, this.#epoch);
    else this.#subscribe(sessionId);
  }

  #subscribe(sessionId: string): void {
    const after = this.#options.position(sessionId);
    const epoch = after === null ? null : (this.#followed.get(sessionId) ?? null);
    this.#send({ type: "subscribe", session_id: sessionId, after, epoch });
  }

  #settle(id: string): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  #send(frame: ClientFrame): void {
    if (this.#isWelcome && this.#plug?.readyState === OPEN) this.#plug.send(JSON.stringify(frame));
  }

  /** No frame for so long means that the link is dead, whatever the browser believes. */
  #expectWithin(delay: number): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.#drop();
      this.#retry("the host went silent");
    }, delay);
  }

  #drop(): void {
    clearTimeout(this.#silence);
    const plug = this.#plug;
    this.#plug = null;
    this.#isWelcome = false;
    if (plug) {
      plug.onclose = null;
      plug.onmessage = null;
      plug.close();
    }
  }

  async #closed(code: number): Promise<void> {
    const wasWelcome = this.#isWelcome;
    this.#drop();
    if (code === 4401) return this.#end("login");
    if (code === 4403) return this.#end("refused");
    if (!wasWelcome) {
      const isLoggedIn = await this.#options.isLoggedIn();
      if (this.#plug || this.#isStopped) return;
      if (isLoggedIn === false) return this.#end("login");
    }
    this.#retry(code === 1012 ? "the host is restarting" : "the connection was lost");
  }

  #end(why: "login" | "refused"): void {
    this.#isStopped = true;
    this.#options.onLink({ state: "closed", why });
  }

  #retry(why: string): void {
    if (this.#isStopped) return;
    const spread = 0.75 + (this.#options.random ?? Math.random)() * 0.5;
    const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#attempt) * spread;
    this.#attempt += 1;
    this.#options.onLink({ state: "waiting", why, retryAt: Date.now() + delay });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), delay);
  }
}
