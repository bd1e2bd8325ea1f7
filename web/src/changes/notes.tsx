// What is said about a decision where it is taken: why it was refused, what waits, and the question for a reason.

import { Clock, Info } from "lucide-react";
import { Suspense, lazy, useState, type ReactNode } from "react";

import { Button, FIELD, Spinner, Trouble } from "../controls.tsx";
import type { Change } from "../protocol.ts";
import { dismiss, type Deed, type Refused } from "../store.ts";
import { Wait } from "../tool.tsx";
import { useDeed, withdrawDecision } from "./deeds.ts";
import { clashesOf, partWords, refusalWords } from "./words.ts";

const Conflict = lazy(() => import("./conflict.tsx"));

/** Why something was refused. `again` tries it once more where a conflict may be gone by then. */
export function Refusal({ name, deed, again }: { name: string; deed: Deed | undefined; again?: ReactNode }) {
  if (deed?.state !== "refused") return null;
  const clashes = clashesOf(deed);
  if (clashes.length) {
    return (
      <Suspense fallback={<Wait />}>
        <Conflict clashes={clashes} words={deed.words} onDismiss={() => dismiss(name)} again={again} />
      </Suspense>
    );
  }
  return <Said name={name} refused={deed} />;
}

function Said({ name, refused }: { name: string; refused: Refused }) {
  const { words, isNews } = refusalWords(refused);
  if (!isNews) return <Trouble words={words} onDismiss={() => dismiss(name)} />;
  return (
    <div role="alert" className="flex items-center gap-2 rounded-md bg-ask-soft px-2.5 py-1.5 text-xs text-ask">
      <Info aria-hidden className="size-3.5 shrink-0" />
      <span className="min-w-0 flex-1">{words}</span>
      <Button look="quiet" size="small" className="text-ask" onClick={() => dismiss(name)}>
        All right
      </Button>
    </div>
  );
}

/** What was decided while a turn runs, and how to take that back. */
export function Queued({ change }: { change: Change }) {
  return change.queued.map((queued) => (
    <QueuedLine key={queued.decision_id} id={queued.decision_id} path={change.file_path}>
      Rejecting {partWords(queued.hunks)} when the turn ends
      <span className="text-faint">
        {" "}
        · {queued.by}
        {queued.reason && ` · “${queued.reason}”`}
      </span>
    </QueuedLine>
  ));
}

function QueuedLine({ id, path, children }: { id: string; path: string; children: ReactNode }) {
  const deed = useDeed(`decision:${id}`);
  return (
    <div role="group" aria-label={`Queued rejection of ${path}`} className="flex flex-col gap-1.5 rounded-md bg-sunken px-2.5 py-1.5 text-xs">
      <div className="flex items-center gap-2">
        <Clock aria-hidden className="size-3.5 shrink-0 text-faint" />
        <span className="min-w-0 flex-1 break-words">{children}</span>
        <Withdraw id={id} path={path} />
      </div>
      <Refusal name={`decision:${id}`} deed={deed} />
    </div>
  );
}

export function Withdraw({ id, path }: { id: string; path: string }) {
  const isBusy = useDeed(`decision:${id}`)?.state === "busy";
  return (
    <Button size="small" aria-label={`Withdraw the rejection of ${path}`} disabled={isBusy} onClick={() => void withdrawDecision(id)}>
      {isBusy && <Spinner />} Withdraw
    </Button>
  );
}

interface ReasonProps {
  question: string;
  /** Said where the answer is carried out later. */
  later: boolean;
  verb: string;
  onYes: (reason: string | null) => void;
  onNo: () => void;
}

/** Asks why before something is taken away; an answer is welcome, not needed. */
export function Reason({ question, later, verb, onYes, onNo }: ReasonProps) {
  const [reason, setReason] = useState("");
  return (
    <form
      aria-label={question}
      className="flex flex-col gap-2 rounded-md border border-line bg-raised p-2.5"
      onSubmit={(event) => {
        event.preventDefault();
        onYes(reason.trim() || null);
      }}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        onNo();
      }}
    >
      <p className="text-xs">
        {question}
        {later && <span className="text-faint"> A turn is running: this is carried out when it ends.</span>}
      </p>
      <input
        autoFocus
        aria-label="Reason"
        placeholder="Why? The agent is told (optional)"
        maxLength={2000}
        value={reason}
        onChange={(event) => setReason(event.target.value)}
        className={`${FIELD} h-7 text-xs`}
      />
      <div className="flex gap-2">
        <Button type="submit" look="danger">
          {verb}
        </Button>
        <Button look="quiet" onClick={onNo}>
          Keep
        </Button>
      </div>
    </form>
  );
}
