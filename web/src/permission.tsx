import { Check, ShieldQuestion, X } from "lucide-react";
import { useEffect, useState } from "react";

import { useAction, useKeysOf, type ActionId } from "./actions.ts";
import { useLandmark } from "./columns.ts";
import { Button, Spinner, Trouble } from "./controls.tsx";
import type { PermissionItem } from "./fold.ts";
import { shownChord, spokenChord } from "./keys.ts";
import { Plain } from "./plain.tsx";
import { answer } from "./prompts.ts";
import type { PermissionOption, PermissionRequest } from "./protocol.ts";
import { dismiss, usePane } from "./store.ts";
import { ToolBody, hasBody } from "./tool.tsx";
import { shownTitle } from "./words.ts";

/** The question that blocks the turn, with the agent's own answers. Digits choose, with Alt also while one is writing. */
export function PermissionCard({ request, more, root }: { request: PermissionRequest; more: number; root: string | null }) {
  const deed = usePane((state) => state.deeds[`answer:${request.id}`]);
  const isBusy = deed?.state === "busy";
  const [isOpen, setOpen] = useState(true);
  const landmark = useLandmark("Permission request");
  return (
    <section
      aria-label={landmark}
      className="overflow-hidden rounded-lg border border-ask-strong bg-raised shadow-raised"
    >
      <div className="flex items-start gap-2.5 px-3.5 pt-3 pb-2">
        <ShieldQuestion aria-hidden className="mt-0.5 size-4 shrink-0 text-ask" />
        <div className="min-w-0 flex-1">
          <p className="text-xs text-soft">
            <span className="font-medium text-ink">{request.agent}</span> asks for permission
            {more > 0 && ` · ${more} more waiting`}
          </p>
          <p className="mt-0.5 font-mono text-xs font-medium break-words"><Plain text={shownTitle(request.tool_call, root)} /></p>
        </div>
        {hasBody(request.tool_call) && (
          <Button look="quiet" className="h-6 px-1.5" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
            {isOpen ? "Hide details" : "Details"}
          </Button>
        )}
      </div>
      {isOpen && hasBody(request.tool_call) && (
        <div className="max-h-56 overflow-auto">
          <ToolBody call={request.tool_call} root={root} />
        </div>
      )}
      <div className="flex flex-wrap items-center gap-2 border-t border-line bg-ask-soft px-3.5 py-2.5">
        {request.options.map((option, at) => (
          <Option key={option.id} option={option} at={at} isBusy={isBusy} onChoose={() => void answer(request.id, option.id)} />
        ))}
        {isBusy && <Spinner />}
        <Countdown until={request.expires_at} />
        {request.options.map((option) => option.covers?.length > 0 && <Covers key={option.id} option={option} />)}
      </div>
      {deed?.state === "refused" && (
        <div className="px-3.5 pb-3">
          <Trouble words={deed.words} onDismiss={() => dismiss(`answer:${request.id}`)} />
        </div>
      )}
    </section>
  );
}

/** What a lasting answer will be taken for, in the agent's own patterns. */
function Covers({ option }: { option: PermissionOption }) {
  return (
    <p className="max-h-24 w-full overflow-y-auto text-2xs text-soft">
      <span className="font-medium">{option.name}</span> covers from now on{" "}
      {option.covers.map((pattern) => (
        <code key={pattern} className="mr-1 rounded-sm bg-raised px-1 font-mono [overflow-wrap:anywhere] text-ink">
          <Plain text={pattern} />
        </code>
      ))}
    </p>
  );
}

interface OptionProps {
  option: PermissionOption;
  at: number;
  isBusy: boolean;
  onChoose: () => void;
}

function Option({ option, at, isBusy, onChoose }: OptionProps) {
  const id: ActionId = `permission.${at + 1}`;
  const keys = useKeysOf(id);
  useAction(id, !isBusy && onChoose);
  return (
    <Button
      look={lookOf(option, at)}
      disabled={isBusy}
      onClick={onChoose}
      title={keys.map((chord) => shownChord(chord)).join(", or while writing ") || undefined}
      aria-keyshortcuts={keys.map((chord) => spokenChord(chord)).join(" ") || undefined}
      className="h-auto! min-h-7 max-w-full shrink! py-0.5 text-left whitespace-normal! [overflow-wrap:anywhere]"
    >
      {keys[0] && (
        <kbd aria-hidden className="font-mono text-2xs">
          {shownChord(keys[0])}
        </kbd>
      )}
      <span>
        <Plain text={option.name} />
      </span>
    </Button>
  );
}

function lookOf(option: PermissionOption, at: number) {
  if (option.kind.startsWith("reject")) return "plain";
  return at === 0 ? "ask" : "plain";
}

/** Nobody answering is an answer too: say when. */
function Countdown({ until }: { until: string }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const left = Math.max(0, Math.round((Date.parse(until) - now) / 1000));
  return <span className="ml-auto text-2xs text-ask tabular-nums">{left > 180 ? `${Math.round(left / 60)} min left to answer` : left > 0 ? `${left} s left to answer` : "running out"}</span>;
}

/** What became of a request, as one line of the transcript. While it is open, its card says more. */
export function PermissionLine({ item }: { item: PermissionItem }) {
  const { request } = item;
  if (request.status === "pending") return null;
  const option = request.options.find(({ id }) => id === request.option_id);
  const isYes = request.status === "selected" && !option?.kind.startsWith("reject");
  const words =
    request.status === "selected"
      ? (option?.name ?? "Answered")
      : request.status === "expired"
        ? "Nobody answered in time"
        : "Withdrawn";
  return (
    <p className="flex min-w-0 items-center gap-2 text-xs text-soft">
      {isYes ? (
        <Check aria-hidden className="size-3.5 shrink-0 text-good" />
      ) : (
        <X aria-hidden className="size-3.5 shrink-0 text-bad" />
      )}
      <span className="shrink-0 font-medium">
        {words}
        {request.decided_by && <span className="font-normal text-faint"> by {request.decided_by}</span>}
      </span>
      <span className="truncate font-mono text-2xs text-faint"><Plain text={request.tool_call.title} />
      </span>
    </p>
  );
}
