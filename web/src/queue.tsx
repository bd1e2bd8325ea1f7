import { ArrowUp, ChevronsUp, CornerDownRight, Pencil, X } from "lucide-react";
import { useState } from "react";

import { Button, IconButton, Trouble } from "./controls.tsx";
import { Bubble } from "./items.tsx";
import { cancel, hurry, place, reword, sendAgain, withdraw } from "./prompts.ts";
import type { Task } from "./protocol.ts";
import { usePane, type Outgoing } from "./store.ts";
import { URGENCY } from "./words.ts";

/** `before` is the prompt that waits right before this one, `urgency` what sending it now does to the running turn. */
export function Queued({ task, before, urgency }: { task: Task; before: string | null; urgency: "steer" | "interrupt" | null }) {
  const deed = usePane((state) => state.deeds[`cancel:${task.id}`] ?? state.deeds[`place:${task.id}`]);
  const isBusy = deed?.state === "busy";
  const [edited, setEdited] = useState<string | null>(null);
  const save = async () => {
    if (edited?.trim() && (edited.trim() === task.input || (await reword(task.id, edited.trim())))) setEdited(null);
  };
  return (
    <section aria-label="Queued prompt" className="flex items-start gap-2 rounded-md border border-dashed border-line-strong px-3 py-2">
      <CornerDownRight aria-hidden className="mt-0.5 size-3.5 shrink-0 text-faint" />
      <div className="min-w-0 flex-1">
        <p className="text-2xs text-faint">
          {task.state === "blocked" ? "Blocked" : "Queued"} for {task.agent}
        </p>
        {edited === null ? (
          <p className="line-clamp-3 whitespace-pre-wrap [overflow-wrap:anywhere]">{task.input}</p>
        ) : (
          <textarea
            autoFocus
            aria-label="Queued prompt's words"
            rows={Math.min(8, edited.split("\n").length + 1)}
            value={edited}
            onChange={(event) => setEdited(event.target.value)}
            onKeyDown={(event) => {
              if (event.nativeEvent.isComposing) return;
              if (event.key === "Escape") setEdited(null);
              else if (event.key === "Enter" && !event.shiftKey) void save();
              else return;
              event.preventDefault();
            }}
            className="mt-1 w-full resize-none rounded-md border border-line-strong bg-raised px-2 py-1 outline-none focus-visible:border-live"
          />
        )}
        {deed?.state === "refused" && <p className="text-xs text-bad">{deed.words}</p>}
      </div>
      {task.state === "pending" && edited === null && (
        <IconButton label="Edit queued prompt" className="size-6" disabled={isBusy} onClick={() => setEdited(task.input)}>
          <Pencil aria-hidden className="size-3.5" />
        </IconButton>
      )}
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

/** A prompt that the host has not accepted yet, or has refused. */
export function Sending({ outgoing }: { outgoing: Outgoing }) {
  return (
    <div className="flex flex-col gap-2">
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
  );
}
