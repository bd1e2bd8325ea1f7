// Finding words in a conversation. The list shows only what is in sight, so the browser's own search would miss the rest.

import { ChevronDown, ChevronUp, X } from "lucide-react";
import { useEffect, useMemo, useRef, useState, type RefObject } from "react";

import { Button, IconButton, Spinner } from "./controls.tsx";
import { useLandmark } from "./columns.ts";
import { useUnfold } from "./folds.ts";
import { hitsOf, type Row } from "./rows.ts";

interface FindProps {
  rows: readonly Row[];
  log: RefObject<HTMLElement | null>;
  hasMore: boolean;
  isLoading: boolean;
  onLoadAll: () => void;
  onGo: (row: number) => void;
  onClose: () => void;
}

export function Find({ rows, log, hasMore, isLoading, onLoadAll, onGo, onClose }: FindProps) {
  const [query, setQuery] = useState("");
  const [here, setHere] = useState<string | null>(null);
  const box = useRef<HTMLInputElement>(null);
  const hits = useMemo(() => hitsOf(rows, query), [rows, query]);
  const at = hits.findIndex(({ key }) => key === here);
  const unfold = useUnfold();
  const name = useLandmark("Find in conversation");
  useHighlights(log, query, here);
  useEffect(() => box.current?.focus(), []);
  const goTo = (index: number) => {
    const hit = hits[index];
    if (!hit) return;
    for (const key of [...hit.within, hit.key]) unfold(key);
    setHere(hit.key);
    onGo(hit.row);
  };
  // The newest one first: it is nearest to where one reads.
  const step = (by: number) => goTo(at < 0 ? hits.length - 1 : (at + by + hits.length) % hits.length);
  return (
    <search
      aria-label={name}
      className="absolute top-2 right-3 z-10 flex max-w-[calc(100%-1.5rem)] flex-wrap items-center gap-1 rounded-lg border border-line bg-surface p-1 shadow-raised"
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
        else if (event.key === "Enter" && !event.nativeEvent.isComposing) step(event.shiftKey ? 1 : -1);
        else return;
        event.preventDefault();
        event.stopPropagation();
      }}
    >
      <input
        ref={box}
        type="search"
        aria-label="Words to find"
        placeholder="Find in conversation"
        value={query}
        onChange={(event) => {
          setQuery(event.target.value);
          setHere(null);
        }}
        className="h-7 w-48 bg-transparent px-2 text-sm outline-none"
      />
      <span role="status" className="min-w-16 text-center text-2xs text-soft tabular-nums">
        {query.trim() && (hits.length ? `${at < 0 ? "" : `${hits.length - at} of `}${hits.length}` : "Not found")}
      </span>
      <IconButton label="Find the one before" disabled={!hits.length} onClick={() => step(-1)}>
        <ChevronUp aria-hidden className="size-4" />
      </IconButton>
      <IconButton label="Find the one after" disabled={!hits.length} onClick={() => step(1)}>
        <ChevronDown aria-hidden className="size-4" />
      </IconButton>
      {hasMore && (
        <Button look="quiet" disabled={isLoading} onClick={onLoadAll}>
          {isLoading && <Spinner />} Search earlier too
        </Button>
      )}
      <IconButton label="Stop finding" onClick={onClose}>
        <X aria-hidden className="size-4" />
      </IconButton>
    </search>
  );
}

/** Marks what is found without touching the text: ranges that the browser paints. */
function useHighlights(log: RefObject<HTMLElement | null>, query: string, here: string | null): void {
  useEffect(() => {
    const box = log.current;
    if (!box || !("highlights" in CSS)) return;
    let painted: [Highlight, Range][] = [];
    const clean = () => painted.forEach(([highlight, range]) => highlight.delete(range));
    const paint = () => {
      clean();
      painted = [...rangesIn(box, query.toLowerCase(), here)].map(({ range, isHere }) => [highlightOf(isHere ? "found-here" : "found"), range]);
      for (const [highlight, range] of painted) highlight.add(range);
    };
    paint();
    const watch = new MutationObserver(paint);
    watch.observe(box, { childList: true, subtree: true, characterData: true });
    return () => {
      watch.disconnect();
      clean();
    };
  }, [log, query, here]);
}

/** One for the page: several columns may look for words of their own. */
function highlightOf(name: string): Highlight {
  const highlight = CSS.highlights.get(name) ?? new Highlight();
  CSS.highlights.set(name, highlight);
  return highlight;
}

function* rangesIn(box: HTMLElement, query: string, here: string | null): Generator<{ range: Range; isHere: boolean }> {
  if (!query.trim()) return;
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.textContent?.toLowerCase() ?? "";
    for (let at = text.indexOf(query); at >= 0; at = text.indexOf(query, at + query.length)) {
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, at + query.length);
      yield { range, isHere: here !== null && node.parentElement?.closest("[data-key]")?.getAttribute("data-key") === here };
    }
  }
}
