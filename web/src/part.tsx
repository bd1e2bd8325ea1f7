// What stands beside the conversation: changes, files, what programs wrote, the plan.

import { FileDiff, FolderTree, ListChecks, SquareTerminal, X, type LucideIcon } from "lucide-react";
import { Suspense, lazy, type ReactNode } from "react";

import { useAction, type ActionId } from "./actions.ts";
import { newestEnd } from "./calls.ts";
import { Changes } from "./changes/panel.tsx";
import { Button, IconButton } from "./controls.tsx";
import type { PlanItem, Standing, ToolItem } from "./fold.ts";
import { PlanEntries } from "./items.tsx";
import { useTip } from "./kbd.tsx";
import { showPart, togglePart, useIsWide, useLayout, type Part } from "./layout.ts";
import { Output } from "./output.tsx";
import { usePane } from "./store.ts";
import { Wait } from "./tool.tsx";
import { shownTitle } from "./words.ts";

const Files = lazy(() => import("./files.tsx"));

const PARTS: Readonly<Record<Part, { word: string; icon: LucideIcon; action: ActionId }>> = {
  changes: { word: "Changes", icon: FileDiff, action: "panel.changes" },
  files: { word: "Files", icon: FolderTree, action: "panel.files" },
  output: { word: "Output", icon: SquareTerminal, action: "panel.output" },
  plan: { word: "Plan", icon: ListChecks, action: "panel.plan" },
};

/** Buttons that show and hide the parts. Changes have their word and count, the others their sign. */
export function PartButtons({ pending }: { pending: number }) {
  return (Object.keys(PARTS) as Part[]).map((part) => <PartButton key={part} part={part} pending={part === "changes" ? pending : 0} />);
}

function PartButton({ part, pending }: { part: Part; pending: number }) {
  const isWide = useIsWide();
  const isShown = useLayout((state) => state.part === part && (isWide ? state.isBeside : state.isOver));
  const { word, icon: Icon, action } = PARTS[part];
  const tip = useTip(action, word);
  useAction(action, () => togglePart(part, isWide));
  return (
    <Button
      look={isShown ? "plain" : "quiet"}
      aria-label={part === "changes" ? undefined : word}
      aria-expanded={isShown}
      title={tip}
      onClick={() => togglePart(part, isWide)}
    >
      <Icon aria-hidden className="size-4" />
      {part === "changes" && <span className="@max-md:sr-only">{word}</span>}
      {pending > 0 && (
        <span className="tabular-nums">
          {pending} <span className="sr-only">waiting</span>
        </span>
      )}
    </Button>
  );
}

/** On a phone the part has the column for itself, with the others one touch away. */
export function PartColumn({ id, view }: { id: string; view: Standing }) {
  const part = useLayout((state) => state.part);
  return (
    <div className="flex h-full flex-col">
      <h1 className="sr-only">{PARTS[part].word}</h1>
      <div role="group" aria-label="Beside the conversation" className="flex shrink-0 gap-1 overflow-x-auto border-b border-line bg-surface p-1.5">
        {(Object.keys(PARTS) as Part[]).map((one) => {
          const Icon = PARTS[one].icon;
          return (
            <Button key={one} look={one === part ? "plain" : "quiet"} aria-pressed={one === part} className="h-9" onClick={() => useLayout.setState({ part: one })}>
              <Icon aria-hidden className="size-4" /> {PARTS[one].word}
            </Button>
          );
        })}
      </div>
      <div className="min-h-0 flex-1">
        <PartPanel id={id} view={view} />
      </div>
    </div>
  );
}

export function PartPanel({ id, view }: { id: string; view: Standing }) {
  const isWide = useIsWide();
  const part = useLayout((state) => state.part);
  const onClose = () => showPart(part, isWide, false);
  switch (part) {
    case "changes":
      return <Changes id={id} view={view} onClose={onClose} />;
    case "files":
      return (
        <Framed word="Files" onClose={onClose}>
          <Suspense fallback={<Wait />}>
            <Files key={id} id={id} moved={`${view.facts.movedAt} ${newestEnd(view.facts)}`} changes={view.facts.changes} />
          </Suspense>
        </Framed>
      );
    case "output":
      return (
        <Framed word="Output" onClose={onClose}>
          <Outputs id={id} root={view.facts.session.worktree_path} />
        </Framed>
      );
    case "plan":
      return (
        <Framed word="Plan" onClose={onClose}>
          <NewestPlan id={id} />
        </Framed>
      );
  }
}

function Framed({ word, onClose, children }: { word: string; onClose: () => void; children: ReactNode }) {
  return (
    <aside aria-label={word} className="flex h-full min-h-0 flex-col bg-surface">
      <div className="flex h-12 shrink-0 items-center gap-2 border-b border-line px-3.5">
        <h2 className="font-semibold">{word}</h2>
        <IconButton label={`Hide ${word.toLowerCase()}`} className="ml-auto" onClick={onClose}>
          <X aria-hidden className="size-4" />
        </IconButton>
      </div>
      <div className="min-h-0 flex-1 overflow-y-auto">{children}</div>
    </aside>
  );
}

function Outputs({ id, root }: { id: string; root: string | null }) {
  const items = usePane((state) => state.views[id]?.story.items) ?? [];
  const calls = items.filter((item): item is ToolItem => item.kind === "tool" && item.call.terminals.length > 0).slice(-30);
  if (calls.length === 0)
    return <p className="px-4 py-8 text-center text-soft">Nothing yet. What agents run in a terminal appears here with what it wrote.</p>;
  return (
    <ul className="divide-y divide-line">
      {calls.toReversed().map(({ key, call }) =>
        call.terminals.map((terminal) => (
          <li key={`${key} ${terminal.terminal_id}`}>
            <Output label={shownTitle(call, root)} text={terminal.output || "(no output)"} isTerminal />
          </li>
        )),
      )}
    </ul>
  );
}

function NewestPlan({ id }: { id: string }) {
  const plan = usePane((state) => state.views[id]?.story.items.findLast((item): item is PlanItem => item.kind === "plan"));
  if (!plan) return <p className="px-4 py-8 text-center text-soft">No plan yet. Agents that make one show it here and tick it off.</p>;
  return (
    <div className="px-3.5 py-2">
      <PlanEntries entries={plan.entries} />
    </div>
  );
}
