// The conversation as rows: what is shown together, and the words to find it by.

import type { Item, ToolItem } from "./fold.ts";
import { plainOutput, readable } from "./words.ts";

export type Single = Exclude<Item, ToolItem>;
export type Row = { kind: "tools"; key: string; calls: Call[] } | { kind: "one"; key: string; item: Single };

/** A tool call; `inner` are those that the sub-agent made which it put to work. */
export interface Call {
  readonly item: ToolItem;
  readonly inner: Call[];
}

/**
 * Calls that follow each other share a frame, and those of a sub-agent are inside its own. An open question stands in its
 * own card, not between them.
 */
export function rowsOf(items: readonly Item[]): Row[] {
  const rows: Row[] = [];
  const known = new Map<string, Call>();
  for (const item of items) {
    const last = rows.at(-1);
    if (item.kind === "permission" && item.request.status === "pending") continue;
    if (item.kind !== "tool") {
      rows.push({ kind: "one", key: item.key, item });
      continue;
    }
    const call: Call = { item, inner: [] };
    // Agents number their calls anew: an id counts within its turn.
    const name = (id: string | null) => JSON.stringify([item.agent, item.taskId, id]);
    known.set(name(item.call.id), call);
    const parent = item.call.parent_id === item.call.id ? undefined : known.get(name(item.call.parent_id));
    if (parent) parent.inner.push(call);
    else if (last?.kind === "tools") last.calls.push(call);
    else rows.push({ kind: "tools", key: item.key, calls: [call] });
  }
  return rows;
}

/** Whether nothing of the calls has changed. */
export function areSame(before: readonly Call[], after: readonly Call[]): boolean {
  return (
    before.length === after.length &&
    before.every(({ item, inner }, at) => {
      const other = after[at];
      return other !== undefined && item === other.item && areSame(inner, other.inner);
    })
  );
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
  /** The calls that have to be open for it to be seen. */
  readonly within: readonly string[];
}

/** The items that hold the words, whatever their case, and the rows they are in. */
export function hitsOf(rows: readonly Row[], query: string): Hit[] {
  const wanted = query.toLowerCase();
  if (!wanted.trim()) return [];
  const isHit = (item: Item) => wordsOf(item).toLowerCase().includes(wanted);
  return rows.flatMap((row, at) => {
    if (row.kind === "one") return isHit(row.item) ? [{ row: at, key: row.key, within: [] }] : [];
    const search = (calls: readonly Call[], within: readonly string[]): Hit[] =>
      calls.flatMap(({ item, inner }) => [
        ...(isHit(item) ? [{ row: at, key: item.key, within }] : []),
        ...search(inner, [...within, item.key]),
      ]);
    return search(row.calls, []);
  });
}
