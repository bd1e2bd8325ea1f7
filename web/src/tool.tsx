import {
  BookOpen,
  Bot,
  Brain,
  Check,
  ChevronRight,
  CircleSlash,
  FileX,
  FolderInput,
  Globe,
  PencilLine,
  Search,
  Terminal,
  TriangleAlert,
  Wrench,
  type LucideIcon,
} from "lucide-react";
import { Suspense, lazy, memo, type ReactNode } from "react";

import { Badge, Spinner } from "./controls.tsx";
import { useFold } from "./folds.ts";
import type { ToolItem } from "./fold.ts";
import { unifiedDiff } from "./diff/unified.ts";
import { marked } from "./marks.ts";
import { Output } from "./output.tsx";
import { Plain } from "./plain.tsx";
import type { ContentBlock, TerminalOutput, ToolCall } from "./protocol.ts";
import { areSame, type Call } from "./rows.ts";
import { TOOL_STATUS, countOf, durationOf, readable, shownPath, shownTitle } from "./words.ts";

const DiffText = lazy(() => import("./diff/text.tsx"));

const ICONS: Record<ToolCall["kind"], LucideIcon> = {
  read: BookOpen,
  edit: PencilLine,
  delete: FileX,
  move: FolderInput,
  search: Search,
  execute: Terminal,
  think: Brain,
  fetch: Globe,
  other: Wrench,
};

/** Calls below each other. `root` is the worktree. */
export function Calls({ calls, root }: { calls: readonly Call[]; root: string | null }) {
  return calls.map(({ item, inner }) => (
    <div key={item.key} data-key={item.key} className="border-line not-first:border-t">
      <ToolCard item={item} inner={inner} root={root} />
    </div>
  ));
}

interface ToolCardProps extends Call {
  root: string | null;
}

/** One tool call: a line while all is well, everything it said when opened. */
const ToolCard = memo(function ToolCard({ item, inner, root }: ToolCardProps) {
  const { call, isAbandoned } = item;
  const isDelegated = !!call.sub_agent || inner.length > 0;
  const [isOpen, setOpen] = useFold(item.key);
  const isShown = isOpen ?? (call.status === "failed" || (call.status === "running" && call.terminals.length > 0));
  const Icon = isDelegated ? Bot : (ICONS[call.kind] ?? Wrench);
  const place = call.locations[0];
  const path = place && shownPath(place.path, root);
  const title = shownTitle(call, root);
  return (
    <section aria-label={`${isDelegated ? "Sub-agent" : "Tool"}: ${marked(title)}`}>
      <button
        type="button"
        aria-expanded={isShown}
        onClick={() => setOpen(!isShown)}
        className="flex min-h-8 w-full items-center gap-2 px-2.5 py-1 text-left hover:bg-hover"
      >
        <Icon aria-hidden className="size-3.5 shrink-0 text-faint" />
        <span className="min-w-0 truncate font-mono text-xs">
          <Plain text={title} />
        </span>
        {call.sub_agent && (
          <Badge>
            <Plain text={call.sub_agent} />
          </Badge>
        )}
        {place && path && !title.includes(path) && (
          <span className="min-w-0 truncate font-mono text-2xs text-faint">
            <Plain text={path} />
            {place.line ? `:${place.line}` : ""}
          </span>
        )}
        <span className="ml-auto flex shrink-0 items-center gap-1.5">
          <Took item={item} />
          <Status call={call} isAbandoned={isAbandoned} />
          <ChevronRight aria-hidden className={`size-3.5 text-faint transition-transform ${isShown ? "rotate-90" : ""}`} />
        </span>
      </button>
      {!isShown && inner.length > 0 && <Progress inner={inner} isOver={isOver(item)} root={root} />}
      {isShown && inner.length > 0 && (
        <div role="group" aria-label={`Calls of the sub-agent: ${marked(title)}`} className="border-t border-line pl-4">
          <div className="border-l border-line">
            <Calls calls={inner} root={root} />
          </div>
        </div>
      )}
      {isShown && <ToolBody call={call} root={root} />}
    </section>
  );
}, isSameCard);

function isSameCard(before: ToolCardProps, after: ToolCardProps): boolean {
  return before.root === after.root && areSame([before], [after]);
}

/** What a sub-agent has done so far, in one line. */
function Progress({ inner, isOver, root }: { inner: readonly Call[]; isOver: boolean; root: string | null }) {
  const last = inner.at(-1);
  return (
    <p className="flex min-w-0 gap-2 px-2.5 pb-1.5 pl-8 text-2xs text-faint">
      <span className="shrink-0 tabular-nums">{countOf(inner.length, "call")}</span>
      {!isOver && last && (
        <span className="min-w-0 truncate font-mono">
          <Plain text={shownTitle(last.item.call, root)} />
        </span>
      )}
    </p>
  );
}

function isOver({ call, isAbandoned }: ToolItem): boolean {
  return isAbandoned || call.status === "completed" || call.status === "failed";
}

/** How long a finished call took, where that is worth a word. */
function Took({ item }: { item: ToolItem }) {
  if (item.isAbandoned || !isOver(item) || Date.parse(item.until) - Date.parse(item.at) < 1000) return null;
  return <span className="text-2xs text-faint tabular-nums">{durationOf(item.at, item.until)}</span>;
}

function Status({ call, isAbandoned }: { call: ToolCall; isAbandoned: boolean }) {
  const words = isAbandoned ? "Not finished" : TOOL_STATUS[call.status];
  const icon = isAbandoned ? (
    <CircleSlash aria-hidden className="size-3.5 text-faint" />
  ) : call.status === "completed" ? (
    <Check aria-hidden className="size-3.5 text-good" />
  ) : call.status === "failed" ? (
    <TriangleAlert aria-hidden className="size-3.5 text-bad" />
  ) : (
    <Spinner className="size-3.5 text-live" />
  );
  return (
    <span className={`flex items-center gap-1.5 text-2xs ${call.status === "failed" ? "text-bad" : "text-faint"}`}>
      <span className={call.status === "completed" && !isAbandoned ? "sr-only" : ""}>{words}</span>
      {icon}
    </span>
  );
}

/** Whether opening the card would show anything. */
export function hasBody(call: ToolCall): boolean {
  return (
    call.diffs.length + call.terminals.length + call.content.length > 0 || isTold(call.input) || isTold(call.output)
  );
}

/** Everything a call holds; also shown where a permission is asked for it. */
export function ToolBody({ call, root }: { call: ToolCall; root: string | null }) {
  const parts: ReactNode[] = [];
  call.diffs.forEach((diff, at) => {
    const path = shownPath(diff.path, root);
    const text = unifiedDiff(path, diff.old_text, diff.new_text);
    parts.push(
      <div key={`diff ${at}`} className="overflow-hidden">
        <p className="px-2.5 pt-1.5 font-mono text-2xs text-faint">
          <Plain text={path} />
        </p>
        <div className="max-h-96 overflow-auto">
          <Suspense fallback={<Wait />}>
            <DiffText text={text || "(no difference)"} path={path} />
          </Suspense>
        </div>
      </div>,
    );
  });
  for (const terminal of call.terminals) parts.push(<Terminals key={terminal.terminal_id} terminal={terminal} />);
  call.content.forEach((block, at) => parts.push(<Block key={`content ${at}`} block={block} />));
  // The differences say what an edit was given, and better.
  if (isTold(call.input) && call.diffs.length === 0) parts.push(<Output key="input" label="Input" text={readable(call.input)} />);
  if (isTold(call.output) && !isRepeated(call)) {
    parts.push(<Output key="output" label="Output" text={readable(call.output)} />);
  }
  return (
    <div className="divide-y divide-line border-t border-line">
      {parts.length ? parts : <p className="px-2.5 py-1.5 text-xs text-faint">Nothing more is known of this call.</p>}
    </div>
  );
}

function isTold(value: unknown): boolean {
  if (value === null || value === undefined || value === "") return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

/** Many agents send the output twice: as content and raw. */
function isRepeated(call: ToolCall): boolean {
  return call.content.some((block) => block.text) || call.terminals.length > 0;
}

function Terminals({ terminal }: { terminal: TerminalOutput }) {
  const end =
    terminal.exit_code !== null && terminal.exit_code !== undefined
      ? `exit code ${terminal.exit_code}`
      : terminal.signal
        ? `ended by ${terminal.signal}`
        : null;
  const label = ["Terminal", end, terminal.truncated ? "beginning cut off" : null].filter(Boolean).join(" · ");
  return <Output label={label} text={terminal.output || "(no output)"} isTerminal />;
}

function Block({ block }: { block: ContentBlock }) {
  if (block.text) return <Output label={block.kind === "text" ? "Content" : block.kind} text={block.text} />;
  if (block.kind === "image" && block.data && /^image\/(png|jpeg|gif|webp)$/.test(block.mime_type ?? "")) {
    return (
      <div className="px-2.5 py-2">
        <img alt="" src={`data:${block.mime_type};base64,${block.data}`} className="max-h-80 rounded-md" />
      </div>
    );
  }
  return <Output label={block.kind} text={block.uri ?? readable(block.raw) ?? ""} />;
}

export function Wait() {
  return <p className="flex items-center gap-2 px-2.5 py-2 text-xs text-faint"><Spinner /> Loading…</p>;
}
