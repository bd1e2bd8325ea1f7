import { describe, expect, it } from "vitest";

import type { Item, ToolItem } from "./fold.ts";
import { areSame, hitsOf, rowsOf } from "./rows.ts";

describe("A conversation", () => {
  const told = { at: "2026-01-01T00:00:00.000Z", agent: "demo", taskId: "tsk_1" };
  const tool = (key: string, title: string, parent: string | null = null): ToolItem => ({
    ...told, key, kind: "tool", until: told.at, isAbandoned: false,
    call: { id: key, title, name: null, kind: "read", status: "completed", input: null, output: null, content: [], diffs: [], locations: [], terminals: [], sub_agent: null, parent_id: parent },
  });
  const items: Item[] = [
    { ...told, key: "1", kind: "prompt", text: "Find the Needle", isSteering: false },
    tool("2", "Read hay.txt"),
    tool("3", "Read needle.txt"),
    { ...told, key: "4", kind: "text", text: "no more", messageId: null, until: told.at },
  ];

  it("is found by its words, also in calls that are folded", () => {
    const rows = rowsOf(items);
    expect(rows.map(({ key }) => key)).toEqual(["1", "2", "4"]);
    expect(hitsOf(rows, "needle")).toEqual([{ row: 0, key: "1", within: [] }, { row: 1, key: "3", within: [] }]);
    expect(hitsOf(rows, " ")).toEqual([]);
  });

  it("has the calls of a sub-agent inside of the call that put it to work", () => {
    const nested = [
      ...items,
      tool("5", "Look around"),
      tool("6", "Ask another", "5"),
      { ...told, key: "7", kind: "text", text: "meanwhile", messageId: null, until: told.at } as const,
      tool("8", "Read needles.txt", "6"),
      tool("9", "Of a call that is not loaded", "0"),
      tool("10", "Of itself", "10"),
      { ...tool("11", "Of another turn's call", "5"), taskId: "tsk_2" },
    ];
    const rows = rowsOf(nested);
    expect(rows.map(({ key }) => key)).toEqual(["1", "2", "4", "5", "7", "9"]);
    const outer = rows[3]?.kind === "tools" ? rows[3].calls : [];
    expect(outer.map(({ item, inner }) => [item.key, inner.map((one) => [one.item.key, one.inner.length])])).toEqual([["5", [["6", 1]]]]);
    expect(hitsOf(rows, "needles")).toEqual([{ row: 3, key: "8", within: ["5", "6"] }]);
    expect(areSame(outer, outer.map((one) => ({ ...one })))).toBe(true);
    expect(areSame(outer, outer.map((one) => ({ ...one, inner: [] })))).toBe(false);
  });
});
