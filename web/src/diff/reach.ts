// How lines are reached: dragged over and tapped, walked with arrow keys, selected and commented on.

import { useRef, type KeyboardEvent, type MouseEvent, type PointerEvent, type RefObject } from "react";

import { changedBetween, type DiffLine, type Side } from "./lines.ts";

interface Reach {
  box: RefObject<HTMLElement | null>;
  lines: readonly DiffLine[];
  chosen: ReadonlySet<number>;
  isSplit: boolean;
  onSelect: ((lines: readonly number[], isAdded: boolean) => void) | undefined;
  onComment: ((side: Side, line: number) => void) | undefined;
}

/** What happens to a hunk's lines when they are pressed, by pointer or key. */
export function useReach({ box, lines, chosen, isSplit, onSelect, onComment }: Reach) {
  const anchor = useRef<number | null>(null);
  const toggle = (from: number, to: number, isAdded: boolean) => onSelect?.(changedBetween(lines, from, to), isAdded);

  const drag = (event: PointerEvent) => {
    const from = gutterAt(event.target);
    // A finger may be about to scroll: what it taps is told by a click.
    if (!onSelect || from === null || event.button !== 0 || event.pointerType !== "mouse") return;
    event.preventDefault();
    const isAdded = event.shiftKey || !chosen.has(from);
    toggle(event.shiftKey && anchor.current !== null ? anchor.current : from, from, isAdded);
    anchor.current = from;
    cellAt(box.current, from)?.focus({ preventScroll: true });
    const move = (moved: globalThis.PointerEvent) => {
      const to = gutterAt(document.elementFromPoint(moved.clientX, moved.clientY));
      if (to !== null && box.current?.contains(document.elementFromPoint(moved.clientX, moved.clientY))) toggle(from, to, isAdded);
    };
    const stop = () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", stop);
      window.removeEventListener("pointercancel", stop);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", stop);
    window.addEventListener("pointercancel", stop);
  };

  const tap = (event: MouseEvent) => {
    const at = gutterAt(event.target);
    if (at === null || (event.nativeEvent as globalThis.PointerEvent).pointerType === "mouse") return;
    anchor.current = at;
    toggle(at, at, !chosen.has(at));
  };

  const press = (event: KeyboardEvent) => {
    const cell = event.target instanceof HTMLElement && event.target.matches("td[data-at]") ? event.target : null;
    if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = Number(cell.dataset.at);
    const done = () => {
      event.preventDefault();
      event.stopPropagation();
    };
    const towards = NEXT[event.key];
    if (towards) {
      const next = neighbour(cell, towards, isSplit);
      if (!next) return;
      done();
      if (event.shiftKey && onSelect && (towards === "up" || towards === "down")) {
        const from = (anchor.current ??= at);
        toggle(from, at, false);
        toggle(from, Number(next.dataset.at), true);
      } else {
        anchor.current = null;
      }
      next.focus({ preventScroll: true });
      next.scrollIntoView({ block: "nearest" });
    } else if (event.key === " " && onSelect) {
      done();
      anchor.current = at;
      toggle(at, at, !chosen.has(at));
    } else if (event.key === "Escape" && chosen.size) {
      done();
      onSelect?.([...chosen], false);
    } else if (event.key === "c" && onComment) {
      done();
      onComment(cell.dataset.side as Side, Number(cell.dataset.line));
    }
  };

  return { drag, tap, press };
}

const NEXT: Readonly<Record<string, "up" | "down" | "left" | "right" | undefined>> = {
  ArrowUp: "up",
  ArrowDown: "down",
  ArrowLeft: "left",
  ArrowRight: "right",
};

function neighbour(cell: HTMLElement, towards: "up" | "down" | "left" | "right", isSplit: boolean): HTMLElement | null {
  if (towards === "left" || towards === "right") {
    const side = towards === "left" ? "base" : "new";
    return isSplit ? (cell.closest("tr")?.querySelector<HTMLElement>(`td[data-side="${side}"]`) ?? null) : null;
  }
  const side = isSplit ? `[data-side="${cell.dataset.side}"]` : "";
  const cells = [...(cell.closest("table")?.querySelectorAll<HTMLElement>(`td[data-at]${side}`) ?? [])];
  return cells[cells.indexOf(cell) + (towards === "down" ? 1 : -1)] ?? null;
}

function gutterAt(target: EventTarget | null): number | null {
  const found = target instanceof Element ? target.closest<HTMLElement>("td[data-gutter]") : null;
  return found ? Number(found.dataset.gutter) : null;
}

function cellAt(box: HTMLElement | null, at: number): HTMLElement | null {
  return box?.querySelector<HTMLElement>(`td[data-at="${at}"]`) ?? null;
}
