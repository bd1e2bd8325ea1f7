import { afterEach, beforeEach, expect, it, vi } from "vitest";

import type { ClientFrame, JournalRecord, ServerFrame } from "./protocol.ts";
import { Socket, type Link, type Plug } from "./socket.ts";

class FakePlug implements Plug {
  readyState = 0;
  onopen: Plug["onopen"] = null;
  onmessage: Plug["onmessage"] = null;
  onclose: Plug["onclose"] = null;
  sent: ClientFrame[] = [];

  send(text: string) {
    this.sent.push(JSON.parse(text) as ClientFrame);
  }
  close() {
    this.readyState = 3;
  }
  say(frame: ServerFrame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
  welcome(epoch = "e1") {
    this.readyState = 1;
    this.onopen?.();
    this.say({ type: "welcome", protocol: 1, version: "0.1.0", heartbeat_s: 10, epoch });
  }
  fail(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

function bench(seq: number | null = null, isLoggedIn: boolean | null = null) {
  const plugs: FakePlug[] = [];
  const links: Link[] = [];
  const known = { seq };
  const socket = new Socket({
    open: () => {
      const plug = new FakePlug();
      plugs.push(plug);
      return plug;
    },
    isLoggedIn: async () => isLoggedIn,
    onLink: (link) => links.push(link),
    onSnapshot: (snapshot) => (known.seq = snapshot.seq),
    onRecords: (_, records) => {
      const first = records[0]?.seq ?? 0;
      if (first !== (known.seq ?? 0) + 1) return false;
      known.seq = records.at(-1)?.seq ?? known.seq;
      return true;
    },
    position: () => known.seq,
    onRefusal: () => {},
    random: () => 0.5,
  });
  return { socket, plugs, links, known, last: () => plugs.at(-1)! };
}

const record = (seq: number): JournalRecord => ({
  seq,
  at: "2026-01-01T00:00:00.000Z",
  agent: null,
  task_id: null,
  event: { type: "user_text", text: "x" },
});
const prompt = { type: "prompt" as const, id: "k1", session_id: "s", agent: "demo", input: "hi" };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it("asks for a snapshot first and resumes after the last number when the link drops", async () => {
  const { socket, plugs, last } = bench();
  socket.follow("s");
  socket.start();
  last().welcome();
  expect(last().sent).toEqual([{ type: "subscribe", session_id: "s", after: null, epoch: null }]);
  last().say({ type: "events", session_id: "s", records: [record(1), record(2)] });
  last().fail();
  await vi.advanceTimersByTimeAsync(600);
  expect(plugs.length).toBe(2);
  last().welcome("e2");
  expect(last().sent).toEqual([{ type: "subscribe", session_id: "s", after: 2, epoch: "e1" }]);
});

it("subscribes again when records are missing", () => {
  const { socket, last } = bench(3);
  socket.follow("s");
  socket.start();
  last().welcome();
  last().say({ type: "events", session_id: "s", records: [record(7)] });
  expect(last().sent.at(-1)).toMatchObject({ type: "subscribe", after: 3 });
});

it("subscribes again from its own number when it was too slow", () => {
  const { socket, last } = bench(3);
  socket.follow("s");
  socket.start();
  last().welcome();
  last().say({ type: "lagged", session_id: "s", seq: 9 });
  expect(last().sent.filter((frame) => frame.type === "subscribe").length).toBe(2);
});

it("sends a command again with the same id until it is answered", async () => {
  const { socket, last } = bench();
  socket.start();
  const answer = socket.command(prompt);
  last().welcome();
  expect(last().sent).toEqual([prompt]);
  last().fail();
  await vi.advanceTimersByTimeAsync(600);
  last().welcome();
  expect(last().sent).toEqual([prompt]);
  last().say({ type: "ack", id: "k1", result: null });
  await expect(answer).resolves.toMatchObject({ id: "k1" });
  last().fail();
  await vi.advanceTimersByTimeAsync(600);
  last().welcome();
  expect(last().sent).toEqual([]);
});

it("hands a refusal to whoever gave the command", async () => {
  const { socket, last } = bench();
  socket.start();
  last().welcome();
  const answer = socket.command(prompt);
  last().say({ type: "error", id: "k1", code: "agent_unavailable", message: "not installed", retryable: false, session_id: null });
  await expect(answer).rejects.toThrow("not installed");
});

it("takes two and a half silent heartbeats for a dead link", async () => {
  const { socket, plugs, links, last } = bench();
  socket.start();
  last().welcome();
  await vi.advanceTimersByTimeAsync(20_000);
  last().say({ type: "ping" });
  expect(last().sent).toEqual([{ type: "pong" }]);
  await vi.advanceTimersByTimeAsync(24_000);
  expect(plugs.length).toBe(1);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(links.at(-2)).toMatchObject({ state: "waiting", why: "the host went silent" });
  expect(plugs.length).toBe(2);
});

it("waits longer after each failure, up to a limit", async () => {
  const { socket, plugs, links, last } = bench();
  socket.start();
  const delays: number[] = [];
  for (let turn = 0; turn < 8; turn += 1) {
    last().fail();
    await vi.advanceTimersByTimeAsync(0);
    const link = links.at(-1);
    const delay = link?.state === "waiting" ? Math.round(link.retryAt - Date.now()) : 0;
    delays.push(delay);
    await vi.advanceTimersByTimeAsync(delay);
  }
  expect(delays).toEqual([500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
  expect(plugs.length).toBe(9);
});

it("asks for the login when the host wants one, and stops", async () => {
  const { socket, plugs, links, last } = bench(null, false);
  socket.start();
  last().fail();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(links.at(-1)).toEqual({ state: "closed", why: "login" });
  expect(plugs.length).toBe(1);
});

it("tries at once when nudged", async () => {
  const { socket, plugs, last } = bench();
  socket.start();
  last().fail();
  await vi.advanceTimersByTimeAsync(0);
  socket.nudge();
  expect(plugs.length).toBe(2);
});
