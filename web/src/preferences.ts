// How one person likes to see the pane in this browser. No truth of the host is kept here.

import { create } from "zustand";

import { keep, kept } from "./kept.ts";

export type Theme = "system" | "light" | "dark";
export type Density = "comfortable" | "compact";

export interface Preferences {
  theme: Theme;
  density: Density;
  /** Call with a notification when an agent asks or ends while the pane is hidden. */
  notifies: boolean;
  /** Shortcuts that differ from the usual ones; an empty one is switched off. */
  bindings: Readonly<Record<string, string>>;
  /** Per session, the end of the newest turn that was looked at. */
  seen: Readonly<Record<string, string>>;
  /** Widths in pixels of what stands beside the conversation. */
  widths: Readonly<Record<string, number>>;
  /** Per number of columns, how they divide the width. */
  shares: Readonly<Record<number, readonly number[]>>;
  /** Differences show the old and the new text beside each other. */
  isSplit: boolean;
}

const NAME = "coder.preferences";
const USUAL: Preferences = { theme: "system", density: "comfortable", notifies: false, bindings: {}, seen: {}, widths: {}, shares: {}, isSplit: false };

export const usePreferences = create<Preferences>(() => ({ ...USUAL, ...kept<Partial<Preferences>>(NAME, {}) }));

export function prefer(change: Partial<Preferences>): void {
  usePreferences.setState(change);
  keep(NAME, usePreferences.getState());
}

/** Show the theme and density on the page, now and whenever they change; other tabs of the browser follow. */
export function applyPreferences(): () => void {
  const apply = ({ theme, density }: Preferences) => {
    const { dataset } = document.documentElement;
    if (theme === "system") delete dataset.theme;
    else dataset.theme = theme;
    dataset.density = density;
  };
  apply(usePreferences.getState());
  const end = usePreferences.subscribe(apply);
  const follow = (event: StorageEvent) => {
    if (event.key === NAME) usePreferences.setState({ ...USUAL, ...kept<Partial<Preferences>>(NAME, {}) });
  };
  window.addEventListener("storage", follow);
  return () => {
    end();
    window.removeEventListener("storage", follow);
  };
}
