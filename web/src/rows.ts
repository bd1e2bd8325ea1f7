// The conversation as rows: what is shown together, and the words to find it by.

import type { Item, ToolItem } from "./fold.ts";
import { plainOutput, readable } from "./words.ts";

export type Single = Exclude<Item, ToolItem>;
export type Row = { kind: "tools"; key: string; items: ToolItem[] } | { kind: "one"; key: string; item: Single };

/** Calls that follow each other share a frame. An open question stands in its own card, not between them. */
export function rowsOf(items: readonly Item[]): Row[] {
  const rows: Row[] = [];
  for (const item of items) {
    const last = rows.at(-1);
    if (item.kind === "permission" && item.request.status === "pending") continue;
    if (item.kind !== "tool") rows.push({ kind: "one", key: item.key, item });
    else if (last?.kind === "tools") last.items.push(item);
    else rows.push({ kind: "tools", key: item.key, items: [item] });
  }
  return rows;
}

function wordsOf(item: Item): string {
  switch (item.kind) {
    case "prompt":
    case "text":
    case "reasoning":
    case "notice":
      return item.text;
    case "tool": {
      const { call } = item;
      const parts = [call.title, ...call.locations.map(({ path }) => path), ...call.content.map(({ text }) => text ?? "")];
      parts.push(...call.terminals.map(({ output }) => plainOutput(output)), ...call.diffs.map((diff) => `${diff.path}\n${diff.new_text}`));
      return [...parts, readable(call.input), readable(call.output)].join("\n");
    }
    case "plan":
      return item.entries.map(({ content }) => content).join("\n");
    case "permission":
      return item.request.tool_call.title;
    case "changes":
      return item.changes.map(({ file_path }) => file_path).join("\n");
    case "turn":
      return item.error?.message ?? "";
    case "unknown":
      return readable(item.raw);
  }
}

export interface Hit {
  readonly row: number;
  readonly key: string;
}

/** The items that hold the words, whatever their case, and the rows they are in. */
export function hitsOf(rows: readonly Row[], query: string): Hit[] {
  const wanted = query.toLowerCase();
  if (!wanted.trim()) return [];
  return rows.flatMap((row, at) =>
    (row.kind === "tools" ? row.items : [row.item])
      .filter((item) => wordsOf(item).toLowerCase().includes(wanted))
      .map(({ key }) => ({ row: at, key })),
  );
}
