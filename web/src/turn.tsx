import { Ban, CircleAlert, CircleCheck, RotateCw } from "lucide-react";

import { Button, Trouble } from "./controls.tsx";
import type { TurnItem, View } from "./fold.ts";
import { prompt } from "./prompts.ts";
import type { Task } from "./protocol.ts";
import { durationOf, tokensOf } from "./words.ts";

const ENDS: Record<string, string> = {
  end_turn: "Done",
  cancelled: "Stopped",
  max_tokens: "Stopped: the answer reached its length limit",
  max_turn_requests: "Stopped: the turn reached its limit of model requests",
  refusal: "The agent declined",
};

export function TurnEnd({ item, task, sessionId }: { item: TurnItem; task: Task | undefined; sessionId: string }) {
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

export function Working({ view, task }: { view: View; task: Task }) {
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
