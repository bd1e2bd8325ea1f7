// One hunk on the screen: lines beside or below each other, that can be selected and commented on.

import { MessageSquarePlus } from "lucide-react";
import { memo, useEffect, useMemo, useRef, useState, type ReactNode } from "react";

import type { Language } from "./language.ts";
import { linesOf, pairsOf, wordsOf, type DiffLine, type HunkText, type Side } from "./lines.ts";
import { useReach } from "./reach.ts";
import { DiffRow, columnsOf, type RowLooks } from "./row.tsx";
import { useTokens } from "./tokens.ts";

/** So many rows are drawn at once; those further down when they come into view. */
const BLOCK = 80;
const ROW = 18;

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
  const [pin, setPin] = useState<Pin | null>(null);
  const chosen = useMemo(() => new Set(selected), [selected]);

  const { drag, tap, press } = useReach({ box, lines, chosen, isSplit, onSelect, onComment });

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
      onClick={tap}
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

interface BlocksProps extends RowLooks {
  rows: readonly Row[];
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
          <DiffRow
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

function digitsOf(lines: readonly DiffLine[]): number {
  return lines.reduce((most, line) => Math.max(most, String(line.base ?? line.fresh ?? 0).length, String(line.fresh ?? 0).length), 2);
}
