// The points that a session's files can be brought back to.

import { ChevronRight, CircleDot, History, Undo2 } from "lucide-react";
import { useState } from "react";

import { api } from "../api.ts";
import { Button, Spinner, Trouble } from "../controls.tsx";
import { useFetched } from "../fetched.ts";
import type { Standing } from "../fold.ts";
import type { Checkpoint, CheckpointDetail } from "../protocol.ts";
import { Wait } from "../tool.tsx";
import { OPERATION, clockOf, countOf } from "../words.ts";
import { Extent, Letter, Path } from "./badges.tsx";
import { restore, useDeed } from "./deeds.ts";
import { Refusal } from "./notes.tsx";
import { checkpointWords } from "./words.ts";

export function Checkpoints({ id, view }: { id: string; view: Standing }) {
  const { value: checkpoints, trouble, retry } = useFetched(`${id} ${view.facts.movedAt}`, () => api.checkpoints(id));
  if (trouble && !checkpoints) return <div className="p-2.5"><Trouble words={trouble}><Button onClick={retry}>Try again</Button></Trouble></div>;
  if (!checkpoints) return <Wait />;
  const newest = checkpoints[0];
  if (!newest) {
    return <p className="px-6 py-10 text-center text-sm text-faint">No checkpoints yet. Every turn leaves one when it ends.</p>;
  }
  return (
    <>
      {newest.kind === "restore" && <Undo checkpoint={newest} view={view} />}
      <ol className="flex flex-col py-1">
        {checkpoints.map((checkpoint) => (
          <CheckpointRow key={checkpoint.id} checkpoint={checkpoint} view={view} />
        ))}
      </ol>
    </>
  );
}

/** A restore keeps what was there: as long as nothing came after it, going back is one press. */
function Undo({ checkpoint, view }: { checkpoint: Checkpoint; view: Standing }) {
  const name = `restore:${checkpoint.id}`;
  const deed = useDeed(name);
  return (
    <div role="status" className="flex flex-col gap-2 border-b border-line bg-sunken px-3.5 py-2 text-xs">
      <div className="flex items-center gap-2">
        <span className="min-w-0 flex-1">What was there was brought back at {clockOf(checkpoint.created_at)}.</span>
        <Button disabled={deed?.state === "busy" || isTurnRunning(view)} onClick={() => void restore(checkpoint.id)}>
          {deed?.state === "busy" ? <Spinner /> : <Undo2 aria-hidden className="size-3.5" />} Undo
        </Button>
      </div>
      <Refusal name={name} deed={deed} />
    </div>
  );
}

export function isTurnRunning(view: Standing): boolean {
  return Object.values(view.facts.tasks).some((task) => task.state === "running");
}

function CheckpointRow({ checkpoint, view }: { checkpoint: Checkpoint; view: Standing }) {
  const [isOpen, setOpen] = useState(false);
  const prompt = checkpoint.task_id ? view.facts.tasks[checkpoint.task_id]?.input : undefined;
  const Icon = checkpoint.kind === "turn" ? CircleDot : History;
  return (
    <li className="border-b border-line last:border-b-0">
      <button
        type="button"
        data-stop="checkpoint"
        aria-expanded={isOpen}
        onClick={() => setOpen(!isOpen)}
        className="flex w-full items-center gap-2 px-2.5 py-1.5 text-left text-xs hover:bg-hover/60 focus-visible:outline-offset-[-2px]"
      >
        <ChevronRight aria-hidden className={`size-3.5 shrink-0 text-faint transition-transform ${isOpen ? "rotate-90" : ""}`} />
        <Icon aria-hidden className="size-3.5 shrink-0 text-faint" />
        <span className="min-w-0 flex-1">
          <span className="block truncate">{checkpointWords(checkpoint)}</span>
          {prompt && <span className="block truncate text-2xs text-faint">{prompt}</span>}
        </span>
        <time dateTime={checkpoint.created_at} className="shrink-0 text-2xs text-faint tabular-nums">
          {clockOf(checkpoint.created_at)}
        </time>
      </button>
      {isOpen && <Restore checkpoint={checkpoint} view={view} />}
    </li>
  );
}

function Restore({ checkpoint, view }: { checkpoint: Checkpoint; view: Standing }) {
  const { value, trouble, retry } = useFetched(`${checkpoint.id} ${view.facts.movedAt}`, () => api.checkpoint(checkpoint.id));
  const name = `restore:${checkpoint.id}`;
  const deed = useDeed(name);
  const isRunning = isTurnRunning(view);
  if (trouble && !value) return <div className="p-2.5"><Trouble words={trouble}><Button onClick={retry}>Try again</Button></Trouble></div>;
  if (!value) return <Wait />;
  const count = value.differences.length;
  const what = [count > 0 && countOf(count, "file"), value.conversations.length > 0 && "conversation"].filter(Boolean).join(" and ");
  return (
    <div role="group" aria-label="What a restore would change" className="flex flex-col gap-2 px-3.5 pb-3 pl-9 text-xs">
      {what === "" ? (
        <p className="text-faint">Everything is as it was then.</p>
      ) : (
        <>
          <p className="text-soft">
            A restore changes {countOf(count, "file")} of the worktree; your checkout stays as it is. What is there now is kept, so this can be
            undone.
          </p>
          {value.conversations.length > 0 && (
            <p className="text-soft">The conversation with {value.conversations.join(", ")} goes back too.</p>
          )}
          {count > 0 && <Differences detail={value} />}
          <div className="flex items-center gap-2">
            <Button look="danger" disabled={isRunning || deed?.state === "busy"} onClick={() => void restore(checkpoint.id)}>
              {deed?.state === "busy" && <Spinner />} Restore {what}
            </Button>
            {isRunning && <span className="text-faint">Not while a turn runs.</span>}
          </div>
        </>
      )}
      <Refusal name={name} deed={deed} />
    </div>
  );
}

const SHOWN = 200;
const BACK: Record<CheckpointDetail["differences"][number]["operation"], string> = {
  create: "Brings back",
  edit: "Changes",
  delete: "Removes",
  rename: "Renames",
};

function Differences({ detail }: { detail: CheckpointDetail }) {
  return (
    <ul className="max-h-64 overflow-auto rounded-md border border-line bg-raised" tabIndex={0} aria-label="Files that would change">
      {detail.differences.slice(0, SHOWN).map((file) => (
        <li key={file.file_path} className="flex items-center gap-2 px-2 py-1" title={`${BACK[file.operation]} ${file.file_path}`}>
          <Letter operation={file.operation} />
          <span className="sr-only">{OPERATION[file.operation].word}</span>
          <span className="min-w-0 flex-1">
            <Path path={file.file_path} />
          </span>
          <Extent change={file} />
        </li>
      ))}
      {detail.differences.length > SHOWN && <li className="px-2 py-1 text-faint">and {detail.differences.length - SHOWN} more</li>}
    </ul>
  );
}
