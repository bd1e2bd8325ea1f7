// What stands beside the conversation, and on a phone which one column is shown.

import { create } from "zustand";

export type Part = "changes" | "files" | "output" | "plan";
export type Column = "sessions" | "talk" | "part";

interface Layout {
  hasSessions: boolean;
  part: Part;
  /** Beside the conversation a part is open unless closed, over it it is closed unless opened. */
  isBeside: boolean;
  isOver: boolean;
  column: Column;
}

export const useLayout = create<Layout>(() => ({ hasSessions: true, part: "changes", isBeside: true, isOver: false, column: "sessions" }));

const set = useLayout.setState;

export function showColumn(column: Column): void {
  set({ column });
}

/** Show a part, or hide it where it is the one that is shown. */
export function togglePart(part: Part, isWide: boolean): void {
  const now = useLayout.getState();
  const isShown = now.part === part && (isWide ? now.isBeside : now.isOver);
  showPart(part, isWide, !isShown);
}

export function showPart(part: Part, isWide: boolean, shows = true): void {
  set({ part, column: shows ? "part" : "talk", ...(isWide ? { isBeside: shows } : { isOver: shows }) });
}
