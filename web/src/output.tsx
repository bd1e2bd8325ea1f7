// Text that tools and programs wrote: long ones folded, colours of terminals kept, nothing else of them.

import { Check, Copy } from "lucide-react";
import { memo, useState } from "react";

import { runsOf } from "./ansi.ts";
import { plainOutput } from "./words.ts";
import "./terminal.css";

const LINES = 18;
const LETTERS = 8_000;

/** The end of what a program wrote, or the beginning of any other text; and how many lines that leaves out. */
export function foldedText(text: string, keepsEnd: boolean): { shown: string; hidden: number } {
  const lines = text.replace(/\n$/, "").split("\n");
  if (lines.length <= LINES * 1.5 && text.length <= LETTERS) return { shown: text, hidden: 0 };
  const kept = keepsEnd ? lines.slice(-LINES) : lines.slice(0, LINES);
  const whole = kept.join("\n");
  const shown = whole.length <= LETTERS ? whole : keepsEnd ? whole.slice(-LETTERS) : whole.slice(0, LETTERS);
  return { shown, hidden: Math.max(1, lines.length - kept.length) };
}

interface OutputProps {
  label: string;
  text: string;
  /** Colours are read, and the end is what matters. */
  isTerminal?: boolean;
}

export const Output = memo(function Output({ label, text, isTerminal = false }: OutputProps) {
  const [isWhole, setWhole] = useState(false);
  const { shown, hidden } = isWhole ? { shown: text, hidden: 0 } : foldedText(text, isTerminal);
  const more = hidden > 0 && (
    <button type="button" onClick={() => setWhole(true)} className="px-2.5 py-1 text-2xs text-live underline underline-offset-2">
      Show all {(hidden + shown.split("\n").length).toLocaleString("en")} lines
    </button>
  );
  return (
    <div className="group/output relative">
      <p className="px-2.5 pt-1.5 text-2xs text-faint">{label}</p>
      <CopyButton text={() => plainOutput(text)} label={`Copy ${label}`} className="group-hover/output:opacity-100" />
      {isTerminal && more}
      <pre
        tabIndex={0}
        aria-label={label}
        className="max-h-96 overflow-auto px-2.5 pt-0.5 pb-2 font-mono text-2xs leading-[1.55] whitespace-pre-wrap [overflow-wrap:anywhere]"
      >
        {isTerminal ? <Runs text={shown} /> : plainOutput(shown)}
      </pre>
      {!isTerminal && more}
    </div>
  );
});

function Runs({ text }: { text: string }) {
  return runsOf(text).map(({ text, look, colour }, at) =>
    look || colour ? (
      <span key={at} className={colour ? `ansi-free ${look}` : look} style={colour ? ({ "--ansi-colour": colour } as React.CSSProperties) : undefined}>
        {text}
      </span>
    ) : (
      text
    ),
  );
}

export function CopyButton({ text, label, className = "" }: { text: () => string; label: string; className?: string }) {
  const [isCopied, setCopied] = useState(false);
  return (
    <button
      type="button"
      aria-label={isCopied ? "Copied" : label}
      title={isCopied ? "Copied" : label}
      onClick={() => {
        // A frame may be denied the clipboard: then the words are there to be selected.
        navigator.clipboard?.writeText(text()).then(
          () => {
            setCopied(true);
            setTimeout(() => setCopied(false), 1500);
          },
          () => undefined,
        );
      }}
      className={`absolute top-1.5 right-1.5 rounded-md border border-line bg-raised p-1 text-soft opacity-0 transition-opacity focus-visible:opacity-100 ${className}`}
    >
      {isCopied ? <Check aria-hidden className="size-3.5" /> : <Copy aria-hidden className="size-3.5" />}
    </button>
  );
}
