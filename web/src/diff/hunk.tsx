// One hunk on the screen: lines beside or below each other, that can be selected and commented on.

import { MessageSquarePlus } from "lucide-react";
import { memo, useEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent, type ReactNode } from "react";

import type { Language } from "./language.ts";
import {
  changedBetween,
  linesOf,
  nameOfHidden,
  pairsOf,
  piecesOf,
  seenParts,
  wordsOf,
  type DiffLine,
  type HunkText,
  type Side,
  type Span,
  type Token,
} from "./lines.ts";

/** So many rows are drawn at once; those further down when they come into view. */
const BLOCK = 80;
const ROW = 18;
/** Longer hunks are shown without colours. */
const COLOURED = 200_000;

export interface LinesProps {
  hunk: HunkText;
  label: string;
  language: Language | null;
  isSplit: boolean;
  /** Places in the hunk's `lines`. */
  selected?: readonly number[];
  /** Absent where lines cannot be chosen. */
  onSelect?: ((lines: readonly number[], isAdded: boolean) => void) | undefined;
  onComment?: ((side: Side, line: number) => void) | undefined;
  /** What stands below a line, where something does. */
  below?: ((side: Side, line: number) => ReactNode) | undefined;
}

interface Row {
  readonly key: number;
  readonly cells: readonly (DiffLine | null)[];
}

/** The lines of a hunk as a grid that is walked with the arrow keys. */
export function Lines({ hunk, label, language, isSplit, selected = [], onSelect, onComment, below }: LinesProps) {
  const lines = useMemo(() => linesOf(hunk), [hunk]);
  const rows = useMemo(() => rowsOf(lines, isSplit), [lines, isSplit]);
  const sides = useMemo(() => sidesOf(lines, isSplit), [lines, isSplit]);
  const words = useMemo(() => wordsOf(lines), [lines]);
  const tokens = useTokens(lines, language);
  const box = useRef<HTMLDivElement>(null);
  const anchor = useRef<number | null>(null);
  const [pin, setPin] = useState<Pin | null>(null);
  const chosen = useMemo(() => new Set(selected), [selected]);

  const toggle = (from: number, to: number, isAdded: boolean) => onSelect?.(changedBetween(lines, from, to), isAdded);

  const drag = (event: PointerEvent) => {
    const from = gutterAt(event.target);
    if (!onSelect || from === null || event.button !== 0) return;
    event.preventDefault();
    const isAdded = event.shiftKey || !chosen.has(from);
    toggle(event.shiftKey && anchor.current !== null ? anchor.current : from, from, isAdded);
    anchor.current = from;
    cellAt(box.current, from)?.focus({ preventScroll: true });
    if (event.pointerType !== "mouse") return;
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

  const point = (target: EventTarget) => {
    if (!onComment || !(target instanceof HTMLElement)) return;
    const cell = target.closest<HTMLElement>("td[data-at]") ?? nextCell(target);
    if (!cell || !box.current) return;
    const line = Number(cell.dataset.line);
    const side = cell.dataset.side as Side;
    if (pin?.line === line && pin.side === side) return;
    const [outer, inner] = [box.current.getBoundingClientRect(), cell.getBoundingClientRect()];
    setPin({ side, line, top: inner.top - outer.top, left: inner.left - outer.left });
  };

  return (
    <div
      ref={box}
      className="relative"
      onPointerDown={drag}
      onKeyDown={press}
      onMouseOver={(event) => point(event.target)}
      onFocus={(event) => point(event.target)}
      onMouseLeave={() => setPin(null)}
      onBlur={(event) => box.current?.contains(event.relatedTarget) || setPin(null)}
    >
      <table
        role="grid"
        aria-label={label}
        aria-multiselectable={onSelect ? true : undefined}
        className={`code ${isSplit ? "code-split" : ""} ${onSelect ? "code-selectable" : ""}`}
        style={{ "--digits": digitsOf(lines) } as React.CSSProperties}
      >
        <colgroup>
          {sides.map((side) => [<col key={side} className="code-gutter-col" />, isSplit && <col key={`${side} text`} />])}
          {!isSplit && <col />}
        </colgroup>
        <Blocks rows={rows} isSplit={isSplit} sides={sides} chosen={chosen} words={words} tokens={tokens} below={below} />
      </table>
      {pin && onComment && (
        <button
          type="button"
          tabIndex={-1}
          aria-label={`Comment on line ${pin.line}`}
          title="Comment on this line (c)"
          onClick={() => onComment(pin.side, pin.line)}
          style={{ top: pin.top, left: pin.left }}
          className="absolute z-[1] grid h-[18px] w-5 -translate-x-1/2 place-items-center rounded-sm bg-live text-surface shadow-raised hover:brightness-110"
        >
          <MessageSquarePlus aria-hidden className="size-3" />
        </button>
      )}
    </div>
  );
}

interface Pin {
  readonly side: Side;
  readonly line: number;
  readonly top: number;
  readonly left: number;
}

interface BlocksProps {
  rows: readonly Row[];
  isSplit: boolean;
  /** Those that have a column of numbers. */
  sides: readonly Side[];
  chosen: ReadonlySet<number>;
  words: ReadonlyMap<number, readonly Span[]>;
  tokens: ReadonlyMap<number, readonly Token[]> | null;
  below: LinesProps["below"];
}

const Blocks = memo(function Blocks({ rows, ...rest }: BlocksProps) {
  const blocks: ReactNode[] = [];
  for (let first = 0; first < rows.length; first += BLOCK)
    blocks.push(<Block key={first} rows={rows.slice(first, first + BLOCK)} isFirst={first === 0} {...rest} />);
  return blocks;
});

function Block({ rows, isFirst, isSplit, sides, chosen, words, tokens, below }: BlocksProps & { isFirst: boolean }) {
  const [isNear, setNear] = useState(isFirst);
  const holder = useRef<HTMLTableSectionElement>(null);
  useEffect(() => {
    if (isNear || !holder.current) return;
    const options: IntersectionObserverInit & { scrollMargin: string } = { scrollMargin: "800px", rootMargin: "800px" };
    const watch = new IntersectionObserver(([seen]) => seen?.isIntersecting && setNear(true), options);
    watch.observe(holder.current);
    return () => watch.disconnect();
  }, [isNear]);
  if (!isNear) {
    return (
      <tbody ref={holder}>
        <tr style={{ height: rows.length * ROW }}>
          <td colSpan={columnsOf(isSplit, sides)} />
        </tr>
      </tbody>
    );
  }
  return (
    <tbody>
      {rows.map(({ key, cells }) => {
        const shown = cells.filter((line, at): line is DiffLine => line !== null && (at === 0 || line !== cells[0]));
        const notes = below ? shown.flatMap((line) => notesOf(line, below)) : [];
        return (
          <FragmentRow
            key={key}
            cells={cells}
            isSplit={isSplit}
            sides={sides}
            chosen={chosen}
            words={words}
            tokens={tokens}
            notes={notes}
          />
        );
      })}
    </tbody>
  );
}

/** A context line stands on both sides, and so may what is said about it. */
function notesOf(line: DiffLine, below: NonNullable<LinesProps["below"]>): ReactNode[] {
  const notes = [line.base === null ? null : below("base", line.base), line.fresh === null ? null : below("new", line.fresh)];
  return notes.filter((note) => note !== null && note !== undefined);
}

interface RowProps extends Omit<BlocksProps, "rows" | "below"> {
  cells: Row["cells"];
  notes: ReactNode[];
}

function FragmentRow({ cells, isSplit, sides, chosen, words, tokens, notes }: RowProps) {
  const [first = null, second = null] = cells;
  const code = (line: DiffLine | null, side: Side, at: number) => (
    <Code
      key={`code ${at}`}
      line={line}
      side={side}
      isChosen={line !== null && chosen.has(line.at)}
      spans={line ? words.get(line.at) : undefined}
      tokens={line ? tokens?.get(line.at) : undefined}
    />
  );
  return (
    <>
      {isSplit ? (
        <tr>
          <Gutter line={first} number={first?.base ?? null} isChosen={first !== null && chosen.has(first.at)} />
          {code(first, "base", 0)}
          <Gutter line={second} number={second?.fresh ?? null} isChosen={second !== null && chosen.has(second.at)} />
          {code(second, "new", 1)}
        </tr>
      ) : (
        first && (
          <tr>
            {sides.map((side) => (
              <Gutter key={side} line={first} number={side === "base" ? first.base : first.fresh} isChosen={chosen.has(first.at)} />
            ))}
            {code(first, first.mark === "-" ? "base" : "new", 0)}
          </tr>
        )
      )}
      {notes.length > 0 && (
        <tr>
          <td colSpan={columnsOf(isSplit, sides)} className="code-note">
            {notes}
          </td>
        </tr>
      )}
    </>
  );
}

const Gutter = memo(function Gutter({ line, number, isChosen }: { line: DiffLine | null; number: number | null; isChosen: boolean }) {
  return (
    <td
      aria-hidden
      className="code-gutter"
      data-mark={line?.mark ?? "none"}
      data-chosen={isChosen || undefined}
      data-gutter={line && line.mark !== " " ? line.at : undefined}
    >
      {number}
    </td>
  );
});

const MARKS = { "+": "Added", "-": "Deleted", " ": "Unchanged" } as const;

interface CodeProps {
  line: DiffLine | null;
  side: Side;
  isChosen: boolean;
  spans: readonly Span[] | undefined;
  tokens: readonly Token[] | undefined;
}

const Code = memo(function Code({ line, side, isChosen, spans, tokens }: CodeProps) {
  if (!line) return <td className="code-text" data-mark="none" />;
  const number = (side === "base" ? line.base : line.fresh) ?? 0;
  return (
    <td
      className="code-text"
      data-mark={line.mark}
      data-chosen={isChosen || undefined}
      data-at={line.at}
      data-side={side}
      data-line={number}
      tabIndex={-1}
      aria-selected={isChosen}
      aria-label={`${MARKS[line.mark]} line ${number}: ${line.text || "empty"}`}
    >
      {piecesOf(line.text, spans ?? [], tokens).map(({ text, isChanged, look }, at) => (
        <span key={at} className={[look, isChanged && "code-word"].filter(Boolean).join(" ") || undefined}>
          <Seen text={text} />
        </span>
      ))}
      {line.isUnended && <span className="code-mark" title="No line end at the end of the file">no line end</span>}
    </td>
  );
});

function Seen({ text }: { text: string }) {
  const parts = seenParts(text);
  if (parts.length === 1) return text;
  return parts.map((part, at) =>
    at % 2 ? (
      <span key={at} className="code-mark" title="A character that is not visible">
        {nameOfHidden(part)}
      </span>
    ) : (
      part
    ),
  );
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

function nextCell(target: HTMLElement): HTMLElement | null {
  let cell: Element | null = target.closest("td.code-gutter");
  while (cell && !cell.matches("td[data-at]")) cell = cell.nextElementSibling;
  return cell as HTMLElement | null;
}

function rowsOf(lines: readonly DiffLine[], isSplit: boolean): Row[] {
  if (isSplit) return pairsOf(lines).map(({ left, right }, key) => ({ key, cells: [left, right] }));
  return lines.map((line, key) => ({ key, cells: [line] }));
}

/** A text that is new or gone altogether needs numbers on one side only. */
function sidesOf(lines: readonly DiffLine[], isSplit: boolean): Side[] {
  const sides: Side[] = ["base", "new"];
  return isSplit ? sides : sides.filter((side) => lines.some((line) => (side === "base" ? line.base : line.fresh) !== null));
}

function columnsOf(isSplit: boolean, sides: readonly Side[]): number {
  return isSplit ? 4 : sides.length + 1;
}

function digitsOf(lines: readonly DiffLine[]): number {
  return lines.reduce((most, line) => Math.max(most, String(line.base ?? line.fresh ?? 0).length, String(line.fresh ?? 0).length), 2);
}

type Syntax = typeof import("./syntax.ts");

function useTokens(lines: readonly DiffLine[], language: Language | null): ReadonlyMap<number, readonly Token[]> | null {
  const [syntax, setSyntax] = useState<Syntax | null>(null);
  useEffect(() => {
    let isCurrent = true;
    // Without colours the text can still be read.
    if (language) void import("./syntax.ts").then((loaded) => isCurrent && setSyntax(loaded), () => undefined);
    return () => {
      isCurrent = false;
    };
  }, [language]);
  return useMemo(() => {
    if (!syntax || !language || lines.reduce((sum, { text }) => sum + text.length, 0) > COLOURED) return null;
    const found = new Map<number, readonly Token[]>();
    for (const left of ["+", "-"]) {
      const side = lines.filter(({ mark }) => mark !== left);
      syntax.tokensOf(language, side.map(({ text }) => text)).forEach((tokens, at) => {
        const line = side[at];
        if (line) found.set(line.at, tokens);
      });
    }
    return found;
  }, [syntax, language, lines]);
}
