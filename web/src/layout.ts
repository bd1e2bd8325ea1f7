// What stands beside the conversation, and on a phone which one tab is shown.

import { useContext } from "react";
import { create } from "zustand";

import { ColumnContext } from "./columns.ts";
import { useMedia } from "./media.ts";

export type Part = "changes" | "files" | "output" | "plan";
export type Tab = "sessions" | "talk" | "part";

interface Layout {
  hasSessions: boolean;
  part: Part;
  /** Beside the conversation a part is open unless closed, over it it is closed unless opened. */
  isBeside: boolean;
  isOver: boolean;
  tab: Tab;
}

export const useLayout = create<Layout>(() => ({ hasSessions: true, part: "changes", isBeside: true, isOver: false, tab: "sessions" }));

const set = useLayout.setState;

export function showTab(tab: Tab): void {
  set({ tab });
}

/** Show a part, or hide it where it is the one that is shown. */
export function togglePart(part: Part, isWide: boolean): void {
  const now = useLayout.getState();
  const isShown = now.part === part && (isWide ? now.isBeside : now.isOver);
  showPart(part, isWide, !isShown);
}

export function showPart(part: Part, isWide: boolean, shows = true): void {
  set({ part, tab: shows ? "part" : "talk", ...(isWide ? { isBeside: shows } : { isOver: shows }) });
}

/** Pixels from which a part has room beside one conversation, and for each further one. */
const ROOM = 1180;
const MORE = 250;

/** Whether there is room for a part beside all columns. */
export function useIsWide(): boolean {
  const others = (useContext(ColumnContext)?.count ?? 1) - 1;
  return useMedia(`(min-width: ${ROOM + others * MORE}px)`);
}
