import { ArrowUp, Ban, Brain, ChevronRight, ChevronsUp, Circle, CircleAlert, CircleCheck, CircleDot, CornerDownRight, FileDiff, ListChecks, RotateCw, X } from "lucide-react";
import { memo, useDeferredValue, type ReactNode } from "react";

import { Button, IconButton, Spinner, Trouble } from "./controls.tsx";
import { queueOf, urgencyOf, type ChangesItem, type Item, type NoticeItem, type PlanItem, type PromptItem, type TextItem, type ToolItem, type TurnItem, type UnknownItem, type View } from "./fold.ts";
import { Markdown } from "./markdown.tsx";
import { PermissionLine } from "./permission.tsx";
import type { Task } from "./protocol.ts";
import { cancel, dismiss, hurry, loadOlder, place, prompt, sendAgain, usePane, withdraw } from "./store.ts";
import { useStickToBottom } from "./stick.ts";
import { ToolCard } from "./tool.tsx";
import { URGENCY, clockOf, countOf, durationOf, readable, tokensOf } from "./words.ts";

const NEAR_TOP = 300;

export function Transcript({ id, view, onShowChanges }: { id: string; view: View; onShowChanges: () => void }) {
  const outbox = usePane((state) => state.outbox).filter(({ frame }) => frame.session_id === id);
  const older = usePane((state) => state.deeds[`older:${id}`]);
  const { items } = view.story;
  const tasks = Object.values(view.facts.tasks);
  const queued = queueOf(view.facts);
  const running = tasks.find((task) => task.state === "running");
  const root = view.facts.session.worktree_path;
  const stick = useStickToBottom(items[0]?.key, [items, queued.length, outbox.length]);
  return (
    <div className="relative min-h-0 flex-1">
      <div
        ref={stick.ref}
        role="log"
        aria-label="Transcript"
        aria-live="off"
        tabIndex={0}
        onScroll={(event) => {
          stick.onScroll();
          if (event.currentTarget.scrollTop < NEAR_TOP && view.hasMore) void loadOlder(id);
        }}
        className="h-full overflow-y-auto overscroll-contain [overflow-anchor:none] focus-visible:outline-offset-[-2px]"
      >
        <div className="mx-auto flex w-full max-w-[46rem] flex-col gap-3 px-4 pt-5 pb-6 sm:px-6">
          {view.hasMore && (
            <div className="flex justify-center">
              {older?.state === "refused" ? (
                <Trouble words={older.words} onDismiss={() => dismiss(`older:${id}`)} />
              ) : (
                <Button look="quiet" disabled={older?.state === "busy"} onClick={() => void loadOlder(id)}>
                  {older?.state === "busy" && <Spinner />} Show earlier
                </Button>
              )}
            </div>
          )}
          {items.length === 0 && !running && queued.length === 0 && outbox.length === 0 && <Blank />}
          {grouped(items).map((group) =>
            group.kind === "tools" ? (
              <div key={group.key} className="overflow-hidden rounded-md border border-line bg-surface">
                {group.items.map((item) => (
                  <ToolCard key={item.key} item={item} root={root} />
                ))}
              </div>
            ) : (
              <ItemView
                key={group.item.key}
                item={group.item}
                isLast={group.item === items.at(-1)}
                onShowChanges={onShowChanges}
                view={view}
              />
            ),
          )}
          {running && <Working view={view} task={running} />}
          {queued.map((task, at) => (
            <Queued key={task.id} task={task} before={queued[at - 1]?.id ?? null} urgency={urgencyOf(view.facts, task.agent)} />
          ))}
          {outbox.map((outgoing) => (
            <div key={outgoing.frame.id} className="flex flex-col gap-2">
              <Bubble text={outgoing.frame.input} className="opacity-60">
                {outgoing.words === null && <span className="text-2xs text-faint">Sending…</span>}
              </Bubble>
              {outgoing.words !== null && (
                <Trouble words={`Not accepted: ${outgoing.words}`} onDismiss={() => withdraw(outgoing.frame.id)}>
                  <Button look="danger" className="h-5" onClick={() => sendAgain(outgoing)}>
                    Send again
                  </Button>
                </Trouble>
              )}
            </div>
          ))}
        </div>
      </div>
      {!stick.isAtBottom && (
        <Button
          className="absolute bottom-3 left-1/2 -translate-x-1/2 rounded-full shadow-raised"
          onClick={stick.toBottom}
        >
          Jump to latest
        </Button>
      )}
    </div>
  );
}

function Blank() {
  return (
    <div className="mt-[12vh] flex flex-col gap-1 text-center text-soft">
      <p className="text-lg font-medium text-ink">What should be done here?</p>
      <p>Agents work in this session's own worktree. Your checkout changes only when you apply.</p>
    </div>
  );
}

type Single = Exclude<Item, ToolItem>;
type Group = { kind: "tools"; key: string; items: ToolItem[] } | { kind: "one"; item: Single };

/** Calls that follow each other share a frame. An open question stands in its own card, not between them. */
function grouped(items: readonly Item[]): Group[] {
  const groups: Group[] = [];
  for (const item of items) {
    const last = groups.at(-1);
    if (item.kind === "permission" && item.request.status === "pending") continue;
    if (item.kind !== "tool") groups.push({ kind: "one", item });
    else if (last?.kind === "tools") last.items.push(item);
    else groups.push({ kind: "tools", key: item.key, items: [item] });
  }
  return groups;
}

interface Shown {
  item: Single;
  view: View;
  isLast: boolean;
  onShowChanges: () => void;
}

const ItemView = memo(
  function ItemView({ item, view, isLast, onShowChanges }: Shown) {
    switch (item.kind) {
      case "prompt":
        return <Prompt item={item} />;
      case "text":
        return <Answer item={item} />;
      case "reasoning":
        return <Reasoning item={item} isOpen={isLast} />;
      case "plan":
        return <Plan item={item} />;
      case "permission":
        return <PermissionLine item={item} />;
      case "changes":
        return <Changed item={item} onShow={onShowChanges} />;
      case "turn":
        return <TurnEnd item={item} task={item.taskId ? view.facts.tasks[item.taskId] : undefined} sessionId={view.facts.session.id} />;
      case "notice":
        return <Notice item={item} />;
      case "unknown":
        return <Unknown item={item} />;
    }
  },
  (before, after) => before.item === after.item && before.isLast === after.isLast,
);

function Prompt({ item }: { item: PromptItem }) {
  return (
    <div className="mt-4 flex flex-col first:mt-0">
      <Bubble text={item.text}>
        <span className="text-2xs text-faint">
          {item.isSteering ? "added to the turn of" : "to"} {item.agent} · <time dateTime={item.at}>{clockOf(item.at)}</time>
        </span>
      </Bubble>
    </div>
  );
}

function Bubble({ text, className = "", children }: { text: string; className?: string; children?: ReactNode }) {
  return (
    <article aria-label="Your prompt" className={`flex flex-col items-end gap-1 self-end ${className}`}>
      <div className="max-w-[38rem] rounded-lg rounded-br-sm bg-hover px-3.5 py-2 text-base whitespace-pre-wrap [overflow-wrap:anywhere]">
        {text}
      </div>
      {children}
    </article>
  );
}

function Answer({ item }: { item: TextItem }) {
  const text = useDeferredValue(item.text);
  return (
    <article aria-label={`${item.agent ?? "Agent"} says`}>
      <Markdown text={text} />
    </article>
  );
}

function Reasoning({ item, isOpen }: { item: TextItem; isOpen: boolean }) {
  return (
    <details className="group/thought text-soft" open={isOpen}>
      <summary className="flex w-fit list-none items-center gap-2 rounded-md text-xs text-faint hover:text-ink [&::-webkit-details-marker]:hidden">
        <Brain aria-hidden className="size-3.5" />
        {Date.parse(item.until) - Date.parse(item.at) < 1000 ? "Thought" : `Thought for ${durationOf(item.at, item.until)}`}
        <ChevronRight aria-hidden className="size-3.5 transition-transform group-open/thought:rotate-90" />
      </summary>
      <div className="mt-1.5 ml-1.5 border-l border-line pl-4 text-sm [&_.prose]:text-sm [&_.prose]:leading-[1.55]">
        <Markdown text={item.text} />
      </div>
    </details>
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
      <ol className="mt-1.5 flex flex-col gap-1">
        {item.entries.map((entry, at) => (
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
    </section>
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

const ENDS: Record<string, string> = {
  end_turn: "Done",
  cancelled: "Stopped",
  max_tokens: "Stopped: the answer reached its length limit",
  max_turn_requests: "Stopped: the turn reached its limit of model requests",
  refusal: "The agent declined",
};

function TurnEnd({ item, task, sessionId }: { item: TurnItem; task: Task | undefined; sessionId: string }) {
  const input = task?.input || item.input;
  const words =
    item.state === "failed" ? "Failed" : item.state === "cancelled" ? "Stopped" : (ENDS[item.stopReason ?? ""] ?? item.stopReason ?? "Done");
  const figures = [
    item.startedAt && durationOf(item.startedAt, item.at),
    item.usage?.output_tokens != null && `${tokensOf(item.usage.output_tokens)} tokens out`,
    item.usage?.cost != null && `$${item.usage.cost.toFixed(2)}`,
  ].filter(Boolean);
  const again = () => {
    if (!input) return;
    prompt({
      session_id: sessionId,
      agent: task?.agent ?? item.agent ?? "",
      input,
      model: task?.model ?? null,
      mode_id: task?.mode_id ?? null,
      thinking_option_id: task?.thinking_option_id ?? null,
      ...(task?.attachments?.length ? { attachments: [...task.attachments] } : {}),
    });
  };
  return (
    <div aria-label={`Turn ended: ${words}`} role="group" className="flex flex-col gap-2">
      <div className="flex items-center gap-2.5 text-2xs text-faint">
        {item.state === "failed" ? (
          <CircleAlert aria-hidden className="size-3.5 shrink-0 text-bad" />
        ) : item.state === "cancelled" ? (
          <Ban aria-hidden className="size-3.5 shrink-0" />
        ) : (
          <CircleCheck aria-hidden className="size-3.5 shrink-0 text-good" />
        )}
        <span>
          {item.agent} · {words}
          {figures.length > 0 && ` · ${figures.join(" · ")}`}
        </span>
        <span aria-hidden className="h-px flex-1 bg-line" />
      </div>
      {item.state === "failed" && (
        <Trouble words={item.error ? item.error.message : "The turn failed without saying why."}>
          {input && (
            <Button look="danger" className="h-6" onClick={again}>
              <RotateCw aria-hidden className="size-3.5" /> Retry
            </Button>
          )}
        </Trouble>
      )}
      {item.state === "cancelled" && input && (
        <div>
          <Button look="quiet" className="h-6 px-1.5" onClick={again}>
            <RotateCw aria-hidden className="size-3.5" /> Send it again
          </Button>
        </div>
      )}
    </div>
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

function Working({ view, task }: { view: View; task: Task }) {
  const status = view.facts.agents[task.agent]?.status;
  const isAsked = Object.values(view.facts.permissions).some((request) => request.status === "pending");
  const words = task.cancel_requested
    ? "is stopping…"
    : isAsked
      ? "waits for your answer"
      : status === "starting"
        ? "is starting…"
        : status === "waking"
          ? "is waking…"
          : "is working…";
  return (
    <p role="status" className="flex items-center gap-2 text-xs text-faint">
      <span aria-hidden className={`size-2 rounded-full ${isAsked ? "bg-ask-strong" : "animate-breathe bg-live"}`} />
      {task.agent} {words}
    </p>
  );
}

/** `before` is the prompt that waits right before this one, `urgency` what sending it now does to the running turn. */
function Queued({ task, before, urgency }: { task: Task; before: string | null; urgency: "steer" | "interrupt" | null }) {
  const deed = usePane((state) => state.deeds[`cancel:${task.id}`] ?? state.deeds[`place:${task.id}`]);
  const isBusy = deed?.state === "busy";
  return (
    <section aria-label="Queued prompt" className="flex items-start gap-2 rounded-md border border-dashed border-line-strong px-3 py-2">
      <CornerDownRight aria-hidden className="mt-0.5 size-3.5 shrink-0 text-faint" />
      <div className="min-w-0 flex-1">
        <p className="text-2xs text-faint">
          {task.state === "blocked" ? "Blocked" : "Queued"} for {task.agent}
        </p>
        <p className="line-clamp-3 whitespace-pre-wrap [overflow-wrap:anywhere]">{task.input}</p>
        {deed?.state === "refused" && <p className="text-xs text-bad">{deed.words}</p>}
      </div>
      {before !== null && (
        <IconButton label="Move queued prompt up" className="size-6" disabled={isBusy} onClick={() => void place(task.id, before)}>
          <ArrowUp aria-hidden className="size-3.5" />
        </IconButton>
      )}
      {urgency !== null && task.state === "pending" && (
        <IconButton
          label="Send queued prompt now"
          title={URGENCY[urgency].title}
          className="size-6"
          disabled={isBusy}
          onClick={() => void hurry(task.id, urgency)}
        >
          <ChevronsUp aria-hidden className="size-3.5" />
        </IconButton>
      )}
      <IconButton label="Cancel queued prompt" className="size-6" disabled={isBusy} onClick={() => void cancel(task.id)}>
        <X aria-hidden className="size-3.5" />
      </IconButton>
    </section>
  );
}
