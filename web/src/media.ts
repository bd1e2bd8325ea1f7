import { useSyncExternalStore } from "react";

/** Whether the window is so now. */
export function useMedia(query: string): boolean {
  const list = window.matchMedia(query);
  return useSyncExternalStore(
    (changed) => {
      list.addEventListener("change", changed);
      return () => list.removeEventListener("change", changed);
    },
    () => list.matches,
  );
}

export const PHONE = "(max-width: 767px)";
