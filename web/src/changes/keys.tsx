// The keys of the review, and the focus that stays where the work is.

import { useEffect, useRef, type KeyboardEvent, type RefObject } from "react";
import { isWriting } from "../keys.ts";

const STOPS = "[data-stop]";

/** Up and down between files, hunks and rows. Says whether the key was one of those. */
export function walk(event: KeyboardEvent, box: HTMLElement | null): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target) || !box) return false;
  const step = event.key === "j" || event.key === "ArrowDown" ? 1 : event.key === "k" || event.key === "ArrowUp" ? -1 : 0;
  if (step === 0) return false;
  const stops = [...box.querySelectorAll<HTMLElement>(STOPS)];
  const next = nextStop(stops, event.target as Node, step);
  if (!next) return false;
  next.focus();
  event.preventDefault();
  return true;
}

function nextStop(stops: HTMLElement[], from: Node, step: 1 | -1): HTMLElement | undefined {
  const isAfter = (stop: HTMLElement) => Boolean(from.compareDocumentPosition(stop) & Node.DOCUMENT_POSITION_FOLLOWING) && !from.contains(stop);
  const isBefore = (stop: HTMLElement) => Boolean(from.compareDocumentPosition(stop) & Node.DOCUMENT_POSITION_PRECEDING) && !stop.contains(from);
  return step === 1 ? stops.find(isAfter) : stops.findLast(isBefore);
}

/** Where the focused file or hunk goes away because it was decided, the next one gets the focus. */
export function useKeptFocus(box: RefObject<HTMLElement | null>): void {
  const last = useRef<{ element: Element; at: number } | null>(null);
  useEffect(() => {
    const area = box.current;
    if (!area) return;
    const note = (event: FocusEvent) => {
      const stops = [...area.querySelectorAll(STOPS)];
      const element = event.target as Element;
      // A dialog gives the focus back by itself.
      if (element.closest("dialog")) return;
      const own = element.closest("section, li")?.querySelector(STOPS) ?? element;
      last.current = { element, at: Math.max(0, stops.indexOf(own)) };
    };
    const forget = (event: FocusEvent) => {
      if (event.relatedTarget instanceof Node && !area.contains(event.relatedTarget)) last.current = null;
    };
    const mend = () => {
      const known = last.current;
      if (!known || document.activeElement !== document.body || known.element.isConnected) return;
      const stops = [...area.querySelectorAll<HTMLElement>(STOPS)];
      stops[Math.min(known.at, stops.length - 1)]?.focus({ preventScroll: true });
    };
    const watch = new MutationObserver(mend);
    watch.observe(area, { childList: true, subtree: true });
    area.addEventListener("focusin", note);
    area.addEventListener("focusout", forget);
    return () => {
      watch.disconnect();
      area.removeEventListener("focusin", note);
      area.removeEventListener("focusout", forget);
    };
  }, [box]);
}

const KEYS: readonly (readonly [string, string])[] = [
  ["j k ↓ ↑", "next and previous file or hunk"],
  ["Enter", "open a file; walk a hunk's lines"],
  ["← →", "close and open a file; sides of split lines"],
  ["Space", "select a line, Shift+↓ ↑ several"],
  ["a", "apply the file, hunk or selected lines"],
  ["r", "reject them"],
  ["c", "comment on a line"],
  ["e", "more lines around the hunk"],
  ["v", "mark a file as viewed"],
  ["s", "split or unified"],
  ["Esc", "one step back"],
];

export function Keys() {
  return (
    <dl aria-label="Keys" className="grid grid-cols-[auto_1fr] gap-x-3 gap-y-1 border-t border-line bg-raised px-3.5 py-2.5 text-2xs">
      {KEYS.map(([key, words]) => (
        <div key={key} className="contents">
          <dt className="font-mono text-soft">{key}</dt>
          <dd className="text-faint">{words}</dd>
        </div>
      ))}
    </dl>
  );
}
