import { expect, it } from "vitest";

import type { ToolCall } from "./protocol.ts";
import { durationOf, memoryOf, partOf, plainOutput, readable, shownTitle, splitPath, waitOf } from "./words.ts";

it("cleans terminal output of colours and overwritten progress", () => {
  expect(plainOutput("\u001b[32mok\u001b[0m\r\n10%\r100%\n\u001b]0;title\u0007done")).toBe("ok\n100%\ndone");
});

it("writes durations as a person would", () => {
  const from = "2026-01-01T00:00:00.000Z";
  expect(durationOf(from, "2026-01-01T00:00:01.240Z")).toBe("1.2 s");
  expect(durationOf(from, "2026-01-01T00:00:42.000Z")).toBe("42 s");
  expect(durationOf(from, "2026-01-01T00:03:05.000Z")).toBe("3 min 5 s");
});

it("writes parts, waits and memory as a person would", () => {
  expect([0, 0.29, 0.666, 0.999, 1].map(partOf)).toEqual(["0 %", "29 %", "66 %", "99 %", "100 %"]);
  expect([0, 0.0004, 0.0123, 0.9994, 1.44, 61.6].map(waitOf)).toEqual(["< 1 ms", "< 1 ms", "12 ms", "999 ms", "1.4 s", "62 s"]);
  expect([0, 150 * 2 ** 20, 11.77 * 2 ** 30].map(memoryOf)).toEqual(["0 MiB", "150 MiB", "11.8 GiB"]);
});

it("shows text as it is and other values as JSON", () => {
  expect(readable("plain")).toBe("plain");
  expect(readable({ a: 1 })).toBe('{\n  "a": 1\n}');
  expect(readable(null)).toBe("");
});

it("tells the folder from the name", () => {
  expect(splitPath("src/deep/a.ts")).toEqual({ folder: "src/deep/", name: "a.ts" });
  expect(splitPath("a.ts")).toEqual({ folder: "", name: "a.ts" });
});

it("names a call without the worktree's own path", () => {
  const call = { title: "mv /w/a.txt /w/b.txt", name: null, kind: "move" } as ToolCall;
  expect(shownTitle(call, "/w")).toBe("mv a.txt b.txt");
  expect(shownTitle({ ...call, title: "" }, null)).toBe("move");
});
