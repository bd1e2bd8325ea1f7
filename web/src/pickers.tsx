// Who does it and how: agent, model, mode, thinking. And what stands below the prompt.

import { ChevronDown, Merge, Zap } from "lucide-react";
import { useRef } from "react";

import { useAction, type ActionId } from "./actions.ts";
import { Button } from "./controls.tsx";
import { IS_APPLE } from "./keys.ts";
import type { ProviderSnapshot } from "./protocol.ts";
import { addressOf } from "./route.ts";
import { usePane } from "./store.ts";
import { URGENCY, obstacleOf, tokensOf } from "./words.ts";

export type Urgency = keyof typeof URGENCY;

const CONTROL = IS_APPLE ? "⌘" : "Ctrl";

/** A way to send now. The first one offered has the keys. */
export function Urgent({ urgency, isFirst, onSend }: { urgency: Urgency; isFirst: boolean; onSend: (when: Urgency) => void }) {
  const { word, title } = URGENCY[urgency];
  const Icon = urgency === "steer" ? Merge : Zap;
  return (
    <Button
      look="quiet"
      aria-label={word}
      title={isFirst ? `${title} (${CONTROL}+Enter)` : title}
      aria-keyshortcuts={isFirst ? "Control+Enter Meta+Enter" : undefined}
      className="h-8 px-2"
      onClick={() => onSend(urgency)}
    >
      <Icon aria-hidden className="size-3.5" /> <span className="hidden @md:inline">{word}</span>
    </Button>
  );
}

export function optionLabel(provider: ProviderSnapshot): string {
  const obstacle = obstacleOf(provider);
  return obstacle ? `${provider.label} (${obstacle})` : provider.label;
}

interface PickerProps {
  label: string;
  value: string;
  options: readonly { id: string; label: string }[];
  onChange: (value: string) => void;
  /** What opens it from the keyboard. */
  action?: ActionId;
}

export function Picker({ label, value, options, onChange, action }: PickerProps) {
  const shown = options.find((option) => option.id === value)?.label ?? value;
  const select = useRef<HTMLSelectElement>(null);
  useAction(action ?? "prompt.mode", action !== undefined && (() => openPicker(select.current)));
  return (
    <span className="relative inline-flex h-7 max-w-44 min-w-0 shrink-0 items-center gap-1 rounded-md px-2 text-xs text-soft focus-within:outline-2 focus-within:outline-live hover:bg-hover hover:text-ink">
      <span aria-hidden className="truncate">
        {shown}
      </span>
      <ChevronDown aria-hidden className="size-3 shrink-0 text-faint" />
      <select
        ref={select}
        aria-label={label}
        value={value}
        onChange={(event) => onChange(event.target.value)}
        className="absolute inset-0 w-full cursor-pointer appearance-none bg-raised text-ink opacity-0"
      >
        {options.map((option) => (
          <option key={option.id} value={option.id}>
            {option.label}
          </option>
        ))}
      </select>
    </span>
  );
}

export function Below({
  provider,
  obstacle,
  urgency,
  sessionId,
  isLoaded,
}: {
  provider: ProviderSnapshot | undefined;
  obstacle: string | null;
  urgency: Urgency | null;
  sessionId: string;
  isLoaded: boolean;
}) {
  const usage = usePane((state) => state.views[sessionId]?.story.usage[provider?.id ?? ""]);
  if (!provider) {
    return (
      <p className="px-1 text-xs text-ask">
        {isLoaded ? "No agent is installed and switched on. " : "Looking for agents… "}
        <a className="underline underline-offset-2" href={addressOf({ place: "agents" })}>
          See agents
        </a>
      </p>
    );
  }
  if (obstacle) {
    return (
      <p className="px-1 text-xs text-ask">
        {provider.label} is {obstacle}.{" "}
        <a className="underline underline-offset-2" href={addressOf({ place: "agents" })}>
          What to do
        </a>
      </p>
    );
  }
  const fill = usage?.context_used != null && usage.context_size ? Math.min(1, usage.context_used / usage.context_size) : null;
  return (
    <p className="flex h-4 items-center justify-between gap-2 px-1 text-2xs text-faint">
      <span className="hidden @md:inline">
        {urgency ? `Enter queues · ${CONTROL}+Enter ${URGENCY[urgency].verb}` : "Enter sends"} · Shift+Enter starts a new line
      </span>
      {usage?.context_used != null && (
        <span className="ml-auto flex items-center gap-2 tabular-nums">
          {fill !== null && (
            <meter
              aria-label="Context used"
              min={0}
              max={1}
              value={fill}
              className={`context-meter ${fill > 0.85 ? "is-full" : ""}`}
            />
          )}
          {tokensOf(usage.context_used)}
          {usage.context_size != null && ` of ${tokensOf(usage.context_size)}`} tokens in context
          {usage.cost != null && ` · $${usage.cost.toFixed(2)}`}
        </span>
      )}
    </p>
  );
}

function openPicker(select: HTMLSelectElement | null): void {
  select?.focus();
  try {
    select?.showPicker();
  } catch {
    // Focused is enough where the browser opens it only on a click.
  }
}
