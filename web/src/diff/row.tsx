// One row of a diff: numbers, text, and what is said about it.

import { memo, type ReactNode } from "react";

import { nameOfHidden, piecesOf, seenParts, type DiffLine, type Side, type Span, type Token } from "./lines.ts";

export interface RowLooks {
  isSplit: boolean;
  /** Those that have a column of numbers. */
  sides: readonly Side[];
  chosen: ReadonlySet<number>;
  words: ReadonlyMap<number, readonly Span[]>;
  tokens: ReadonlyMap<number, readonly Token[]> | null;
}

export function columnsOf(isSplit: boolean, sides: readonly Side[]): number {
  return isSplit ? 4 : sides.length + 1;
}

interface RowProps extends RowLooks {
  /** The line, or the old and the new one. */
  cells: readonly (DiffLine | null)[];
  notes: ReactNode[];
}

export function DiffRow({ cells, isSplit, sides, chosen, words, tokens, notes }: RowProps) {
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

