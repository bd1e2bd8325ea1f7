// What a conversation is made of, besides tool calls and turns.

import { Brain, ChevronRight, Circle, CircleAlert, CircleCheck, CircleDot, FileDiff, ListChecks } from "lucide-react";
import { memo, useDeferredValue, type ReactNode } from "react";

import type { ChangesItem, NoticeItem, PlanItem, PromptItem, TextItem, UnknownItem, Standing } from "./fold.ts";
import { useFold } from "./folds.ts";
import { Markdown } from "./markdown.tsx";
import { CopyButton } from "./output.tsx";
import { Plain } from "./plain.tsx";
import type { Attachment, PlanEntry } from "./protocol.ts";
import { PermissionLine } from "./permission.tsx";
import type { Single } from "./rows.ts";
import { TurnEnd } from "./turn.tsx";
import { clockOf, countOf, durationOf, readable } from "./words.ts";

interface Shown {
  item: Single;
  view: Standing;
  /** It is the last one, and its turn goes on. */
  isGrowing: boolean;
  onShowChanges: () => void;
}

export const ItemView = memo(
  function ItemView({ item, view, isGrowing, onShowChanges }: Shown) {
    switch (item.kind) {
      case "prompt":
        return <Prompt item={item} attachments={(item.taskId && view.facts.tasks[item.taskId]?.attachments) || []} />;
      case "text":
        return <Answer item={item} isGrowing={isGrowing} />;
      case "reasoning":
        return <Reasoning item={item} isGrowing={isGrowing} />;
      case "plan":
        return <Plan item={item} />;
      case "permission":
        return <PermissionLine item={item} />;
      case "changes":
        return <Changed item={item} onShow={onShowChanges} />;
      case "turn":
        return <TurnEnd item={item} task={item.taskId ? view.facts.tasks[item.taskId] : undefined} sessionId={view.facts.session.id} onShowChanges={onShowChanges} />;
      case "notice":
        return <Notice item={item} />;
      case "unknown":
        return <Unknown item={item} />;
    }
  },
  (before, after) => before.item === after.item && before.isGrowing === after.isGrowing,
);

function Prompt({ item, attachments }: { item: PromptItem; attachments: readonly Attachment[] }) {
  return (
    <div className="flex flex-col pt-4">
      <Bubble text={item.text}>
        {attachments.length > 0 && (
          <ul aria-label="Files of this prompt" className="flex max-w-[38rem] flex-wrap justify-end gap-1">
            {attachments.map(({ name }, at) => (
              <li key={at} className="rounded-sm bg-sunken px-1.5 font-mono text-2xs text-soft">
                <Plain text={name} />
              </li>
            ))}
          </ul>
        )}
        <span className="text-2xs text-faint">
          {item.isSteering ? "added to the turn of" : "to"} {item.agent} · <time dateTime={item.at}>{clockOf(item.at)}</time>
        </span>
      </Bubble>
    </div>
  );
}

export function Bubble({ text, className = "", children }: { text: string; className?: string; children?: ReactNode }) {
  return (
    <article aria-label="Your prompt" className={`flex flex-col items-end gap-1 self-end ${className}`}>
      <div className="max-w-[38rem] rounded-lg rounded-br-sm bg-hover px-3.5 py-2 text-base whitespace-pre-wrap [overflow-wrap:anywhere]">
        {text}
      </div>
      {children}
    </article>
  );
}

function Answer({ item, isGrowing }: { item: TextItem; isGrowing: boolean }) {
  const text = useDeferredValue(item.text);
  return (
    <article aria-label={`${item.agent ?? "Agent"} says`} className="group/answer relative">
      <Markdown text={text} isGrowing={isGrowing || text !== item.text} />
      {!isGrowing && (
        <CopyButton text={() => item.text} label="Copy this answer" className="-top-1 -right-9 border-transparent bg-transparent group-hover/answer:opacity-100 max-lg:hidden" />
      )}
    </article>
  );
}

function Reasoning({ item, isGrowing }: { item: TextItem; isGrowing: boolean }) {
  const [isOpen, setOpen] = useFold(item.key);
  const isShown = isOpen ?? isGrowing;
  return (
    <div className="text-soft">
      <button
        type="button"
        aria-expanded={isShown}
        onClick={() => setOpen(!isShown)}
        className="flex w-fit items-center gap-2 rounded-md text-xs text-faint hover:text-ink"
      >
        <Brain aria-hidden className="size-3.5" />
        {isGrowing ? "Thinking…" : Date.parse(item.until) - Date.parse(item.at) < 1000 ? "Thought" : `Thought for ${durationOf(item.at, item.until)}`}
        <ChevronRight aria-hidden className={`size-3.5 transition-transform ${isShown ? "rotate-90" : ""}`} />
      </button>
      {isShown && (
        <div className="mt-1.5 ml-1.5 border-l border-line pl-4 text-sm [&_.prose]:text-sm [&_.prose]:leading-[1.55]">
          <Markdown text={item.text} isGrowing={isGrowing} />
        </div>
      )}
    </div>
  );
}

function Plan({ item }: { item: PlanItem }) {
  const done = item.entries.filter((entry) => entry.status === "completed").length;
  return (
    <section aria-label="Plan" className="rounded-md border border-line bg-surface px-3 py-2">
      <p className="flex items-center gap-2 text-xs text-faint">
        <ListChecks aria-hidden className="size-3.5" /> Plan
        <span className="ml-auto tabular-nums">
          {done} of {item.entries.length}
        </span>
      </p>
      <PlanEntries entries={item.entries} />
    </section>
  );
}

export function PlanEntries({ entries }: { entries: readonly PlanEntry[] }) {
  return (
    <ol className="mt-1.5 flex flex-col gap-1">
      {entries.map((entry, at) => (
        <li key={at} className={`flex gap-2 ${entry.status === "completed" ? "text-faint" : ""}`}>
          {entry.status === "completed" ? (
            <CircleCheck role="img" aria-label="Done" className="mt-0.5 size-4 shrink-0 text-good" />
          ) : entry.status === "in_progress" ? (
            <CircleDot role="img" aria-label="In progress" className="mt-0.5 size-4 shrink-0 text-live" />
          ) : (
            <Circle role="img" aria-label="To do" className="mt-0.5 size-4 shrink-0 text-line-strong" />
          )}
          <span className="[overflow-wrap:anywhere]">{entry.content}</span>
        </li>
      ))}
    </ol>
  );
}

function Changed({ item, onShow }: { item: ChangesItem; onShow: () => void }) {
  const changes = item.changes.filter((change) => change.status !== "superseded");
  if (changes.length === 0) return null;
  const added = changes.reduce((sum, change) => sum + change.added_lines, 0);
  const deleted = changes.reduce((sum, change) => sum + change.deleted_lines, 0);
  return (
    <button
      type="button"
      onClick={onShow}
      className="flex w-fit items-center gap-2 rounded-md text-xs text-soft hover:text-ink hover:underline"
    >
      <FileDiff aria-hidden className="size-3.5 text-faint" />
      Changed {countOf(changes.length, "file")}
      <span className="font-mono text-2xs">
        <span className="text-good">+{added}</span> <span className="text-bad">−{deleted}</span>
      </span>
    </button>
  );
}

function Notice({ item }: { item: NoticeItem }) {
  return (
    <p className={`flex items-start gap-2 text-xs ${item.tone === "bad" ? "text-bad" : "text-faint"}`}>
      <CircleAlert aria-hidden className="mt-0.5 size-3.5 shrink-0" />
      <span className="[overflow-wrap:anywhere]">{item.text}</span>
    </p>
  );
}

function Unknown({ item }: { item: UnknownItem }) {
  return (
    <details className="text-xs text-faint">
      <summary className="w-fit list-none hover:text-ink">An event that this pane has no word for</summary>
      <pre tabIndex={0} className="mt-1 max-h-60 overflow-auto rounded-md bg-sunken p-2 font-mono text-2xs">
        {readable(item.raw)}
      </pre>
    </details>
  );
}
