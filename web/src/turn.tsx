import { Ban, CircleAlert, CircleCheck, RotateCw } from "lucide-react";

import { Button } from "./controls.tsx";
import type { TurnItem, Standing } from "./fold.ts";
import { Plain } from "./plain.tsx";
import { repeat } from "./prompts.ts";
import type { Task } from "./protocol.ts";
import { remedyOf } from "./remedies.ts";
import { addressOf } from "./route.ts";
import { durationOf, tokensOf } from "./words.ts";

const ENDS: Record<string, string> = {
  end_turn: "Done",
  cancelled: "Stopped",
  max_tokens: "Stopped: the answer reached its length limit",
  max_turn_requests: "Stopped: the turn reached its limit of model requests",
  refusal: "The agent declined",
};

interface TurnEndProps {
  item: TurnItem;
  task: Task | undefined;
  sessionId: string;
  onShowChanges: () => void;
}

export function TurnEnd({ item, task, sessionId, onShowChanges }: TurnEndProps) {
  const input = task?.input || item.input;
  const words =
    item.state === "failed" ? "Failed" : item.state === "cancelled" ? "Stopped" : (ENDS[item.stopReason ?? ""] ?? item.stopReason ?? "Done");
  const figures = [
    task?.model,
    item.startedAt && durationOf(item.startedAt, item.at),
    item.usage?.output_tokens != null && `${tokensOf(item.usage.output_tokens)} tokens out`,
    item.usage?.cost != null && `$${item.usage.cost.toFixed(2)}`,
  ].filter(Boolean);
  const again = () => repeat(item, task, sessionId);
  const remedy = item.state === "failed" ? remedyOf(item.error?.code) : null;
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
          <span className="rounded-sm bg-sunken px-1 font-medium text-soft">{item.agent}</span> {words}
          {figures.length > 0 && ` · ${figures.join(" · ")}`}
        </span>
        <span aria-hidden className="h-px flex-1 bg-line" />
      </div>
      {item.state === "failed" && (
        <div className="flex flex-col gap-1.5 rounded-md bg-bad-soft px-3 py-2 text-xs text-bad">
          <p className="[overflow-wrap:anywhere] whitespace-pre-wrap">
            <Plain text={item.error ? item.error.message : "The turn failed without saying why."} />
          </p>
          {remedy && <p className="text-soft">{remedy.words}</p>}
          <div className="flex flex-wrap items-center gap-2">
            {input && (
              <Button className="h-6" onClick={again}>
                <RotateCw aria-hidden className="size-3.5" /> Retry
              </Button>
            )}
            {remedy?.place === "agents" && (
              <a className="underline underline-offset-2" href={addressOf({ place: "agents" })}>
                What is missing
              </a>
            )}
            {remedy?.place === "changes" && (
              <Button look="quiet" className="h-6" onClick={onShowChanges}>
                Look at changes
              </Button>
            )}
          </div>
        </div>
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

export function Working({ view, task }: { view: Standing; task: Task }) {
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
