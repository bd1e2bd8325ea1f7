// Which files a person has looked at: a preference of this browser, void once the file is another one.

import { useKept } from "../kept.ts";
import type { Change } from "../protocol.ts";
import { sidesOf } from "./words.ts";

/** What was looked at, by path. */
export type Viewed = Readonly<Record<string, string>>;

export type ViewState = "new" | "viewed" | "stale";

export function viewStateOf(viewed: Viewed, change: Change): ViewState {
  const seen = Object.hasOwn(viewed, change.file_path) ? viewed[change.file_path] : undefined;
  if (seen === undefined) return "new";
  return seen === sidesOf(change) ? "viewed" : "stale";
}

/** Marked or unmarked; marks of files that are no longer pending are dropped. */
export function withView(viewed: Viewed, change: Change, isViewed: boolean, pending: readonly Change[]): Viewed {
  const paths = new Set(pending.map(({ file_path }) => file_path));
  const rest = Object.entries(viewed).filter(([path]) => path !== change.file_path && paths.has(path));
  return Object.fromEntries(isViewed ? [...rest, [change.file_path, sidesOf(change)]] : rest);
}

export function useViewed(sessionId: string): [Viewed, (viewed: Viewed) => void] {
  return useKept<Viewed>(`coder.viewed.${sessionId}`, {});
}
