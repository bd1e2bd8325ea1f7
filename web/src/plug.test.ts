import { expect, it } from "vitest";

import { LatePlug } from "./plug.ts";
import type { Plug } from "./socket.ts";

function wire(readyState = 1) {
  const sent: string[] = [];
  const plug: Plug = { readyState, onopen: null, onmessage: null, onclose: null, send: (text) => sent.push(text), close: () => (closed.is = true) };
  const closed = { is: false };
  return { plug, sent, closed };
}

it("passes on what comes and goes once it is open", async () => {
  const { plug, sent } = wire();
  const late = new LatePlug(() => Promise.resolve(plug), () => 1006);
  const heard: unknown[] = [];
  late.onmessage = ({ data }) => heard.push(data);
  late.onclose = ({ code }) => heard.push(code);
  expect(late.readyState).toBe(0);
  late.send("too early");
  await Promise.resolve();
  late.send("hello");
  plug.onmessage?.({ data: "welcome" });
  plug.onclose?.({ code: 4403 });
  expect(sent).toEqual(["hello"]);
  expect(heard).toEqual(["welcome", 4403]);
  expect(late.readyState).toBe(3);
});

it("closes with the code that its failure to open stands for", async () => {
  const codes: number[] = [];
  const late = new LatePlug(() => Promise.reject(new Error("no")), () => 4401);
  late.onclose = ({ code }) => codes.push(code);
  await new Promise(process.nextTick);
  expect(codes).toEqual([4401]);
});

it("opens nothing that was closed meanwhile", async () => {
  const { plug, closed } = wire();
  const late = new LatePlug(() => Promise.resolve(plug), () => 1006);
  late.close();
  await Promise.resolve();
  expect(closed.is).toBe(true);
});
