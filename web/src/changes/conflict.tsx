// Files that do not fit: both sides and the lines where they clash. Loaded when the first one is met.

import { TriangleAlert, X } from "lucide-react";
import { useMemo, useState, type ReactNode } from "react";

import { IconButton } from "../controls.tsx";
import DiffText from "../diff/text.tsx";
import { unifiedDiff } from "../diff/unified.ts";
import { countOf } from "../words.ts";
import { mergedParts, type Clash } from "./words.ts";

interface ConflictProps {
  clashes: readonly Clash[];
  words: string;
  /** What to do, where it is not to make the file fit. */
  advice?: string | undefined;
  sides?: Sides | undefined;
  onDismiss: () => void;
  again?: ReactNode;
}

/** What the two sides are called. */
interface Sides {
  readonly present: string;
  readonly change: string;
}

const USUAL: Sides = { present: "The file as it is", change: "This change" };

export default function Conflict({ clashes, words, advice, sides = USUAL, onDismiss, again }: ConflictProps) {
  return (
    <section aria-label="Conflict" className="overflow-hidden rounded-md border border-bad/40 bg-raised text-xs">
      <div role="alert" className="flex items-start gap-2 bg-bad-soft px-2.5 py-2 text-bad">
        <TriangleAlert aria-hidden className="mt-0.5 size-3.5 shrink-0" />
        <p className="min-w-0 flex-1">
          <span className="font-medium" title={words}>
            Nothing was written: {clashes.length === 1 ? `${clashes[0]?.filePath} has` : `${clashes.length} files have`} moved on in the same places.
          </span>{" "}
          {advice ?? `Edit ${clashes.length === 1 ? "it so that it fits" : "them so that they fit"} and try again, or decide hunk by hunk.`}
        </p>
        <IconButton label="Dismiss the conflict" className="-my-1 size-6 text-bad" onClick={onDismiss}>
          <X aria-hidden className="size-3.5" />
        </IconButton>
      </div>
      {clashes.map((clash, at) => (
        <ClashView key={clash.filePath} clash={clash} sides={sides} isFirst={at === 0} />
      ))}
      {again && <div className="flex flex-wrap gap-2 border-t border-line p-2">{again}</div>}
    </section>
  );
}

type Shown = "merged" | "present" | "change";

function ClashView({ clash, sides, isFirst }: { clash: Clash; sides: Sides; isFirst: boolean }) {
  const [shown, setShown] = useState<Shown>("merged");
  const offered = tabsOf(clash, sides);
  return (
    <details open={isFirst} className="group/clash border-t border-line">
      <summary className="flex list-none flex-wrap items-baseline gap-x-2 px-2.5 py-1.5 hover:bg-hover [&::-webkit-details-marker]:hidden">
        <span className="font-mono">{clash.filePath}</span>
        <span className="text-faint">{clash.reason}</span>
      </summary>
      {offered.length === 0 ? (
        <p className="px-2.5 pb-2 text-faint">There is no text to compare.</p>
      ) : (
        <>
          <div role="group" aria-label={`Sides of ${clash.filePath}`} className="flex gap-1 px-2 pb-1.5">
            {offered.map(({ id, label }) => (
              <button
                key={id}
                type="button"
                aria-pressed={shown === id}
                onClick={() => setShown(id)}
                className="min-h-6 rounded-sm px-2 text-2xs text-soft hover:bg-hover aria-pressed:bg-sunken aria-pressed:font-medium aria-pressed:text-ink"
              >
                {label}
              </button>
            ))}
          </div>
          <div className="max-h-96 overflow-auto border-t border-line" tabIndex={0} role="region" aria-label={`Conflict in ${clash.filePath}`}>
            <ClashText clash={clash} sides={sides} shown={offered.some(({ id }) => id === shown) ? shown : (offered[0]?.id ?? "merged")} />
          </div>
        </>
      )}
    </details>
  );
}

function tabsOf(clash: Clash, sides: Sides): { id: Shown; label: string }[] {
  const tabs: { id: Shown; label: string }[] = [];
  if (clash.merged !== null) tabs.push({ id: "merged", label: "Where they clash" });
  if (clash.present !== null) tabs.push({ id: "present", label: sides.present });
  if (clash.change !== null) tabs.push({ id: "change", label: sides.change });
  return tabs;
}

function ClashText({ clash, sides, shown }: { clash: Clash; sides: Sides; shown: Shown }) {
  if (shown === "merged") return <Merged text={clash.merged ?? ""} sides={sides} />;
  const text = (shown === "present" ? clash.present : clash.change) ?? "";
  const diff = unifiedDiff(clash.filePath, clash.base, text);
  return <DiffText text={diff || "Unchanged since the base."} path={clash.filePath} />;
}

function Merged({ text, sides }: { text: string; sides: Sides }) {
  const parts = useMemo(() => mergedParts(text), [text]);
  return (
    <div className="py-1 font-mono text-2xs leading-[1.125rem]">
      {parts.map((part, at) =>
        part.kind === "same" ? (
          <div key={at} className="text-faint">
            {at > 0 && <Plain lines={part.lines} />}
            {part.left > 0 && <p className="px-3 py-0.5 font-sans">… {countOf(part.left, "line")} that fit</p>}
            {at === 0 && <Plain lines={part.lines} />}
          </div>
        ) : (
          <div key={at} className="my-1 border-y border-line">
            <SideOf label={sides.present} lines={part.present} className="bg-ask-soft" />
            {part.base && <SideOf label="Before both" lines={part.base} className="bg-sunken text-faint" />}
            <SideOf label={sides.change} lines={part.change} className="bg-live-soft" />
          </div>
        ),
      )}
    </div>
  );
}

function SideOf({ label, lines, className }: { label: string; lines: readonly string[]; className: string }) {
  return (
    <div className={`${className} py-0.5`}>
      <p className="px-3 font-sans text-2xs text-soft">{label}</p>
      {lines.length ? <Plain lines={lines} /> : <p className="px-3 font-sans text-faint italic">nothing</p>}
    </div>
  );
}

function Plain({ lines }: { lines: readonly string[] }) {
  return <pre className="px-3 whitespace-pre-wrap [overflow-wrap:anywhere]">{lines.join("\n")}</pre>;
}
