import { ArrowUp, ChevronDown, Merge, Square, Zap } from "lucide-react";
import { useEffect, useLayoutEffect, useRef, useState } from "react";

import { useAction } from "./actions.ts";
import { Button } from "./controls.tsx";
import { urgencyOf, type View } from "./fold.ts";
import { IS_APPLE } from "./keys.ts";
import { keep, kept } from "./kept.ts";
import { cancel, prompt } from "./prompts.ts";
import type { ProviderSnapshot } from "./protocol.ts";
import { addressOf } from "./route.ts";
import { usePane } from "./store.ts";
import { URGENCY, obstacleOf, tokensOf } from "./words.ts";

type Urgency = keyof typeof URGENCY;

const CONTROL = IS_APPLE ? "⌘" : "Ctrl";

interface Choice {
  agent: string | null;
  models: Record<string, string>;
  modes: Record<string, string>;
  thinking: Record<string, string>;
}

const NO_CHOICE: Choice = { agent: null, models: {}, modes: {}, thinking: {} };

/** Words that are not sent yet survive a reload; so does the choice of agent, model and mode. */
export function Composer({ id, view }: { id: string; view: View }) {
  const providers = usePane((state) => state.providers);
  const [text, setText] = useState(() => kept(`coder.draft.${id}`, ""));
  const [choice, setChoice] = useState<Choice>(() => ({ ...NO_CHOICE, ...kept<Partial<Choice>>(`coder.choice.${id}`, kept("coder.choice", {})) }));
  const box = useRef<HTMLTextAreaElement>(null);

  useEffect(() => keep(`coder.draft.${id}`, text), [id, text]);
  useEffect(() => {
    keep(`coder.choice.${id}`, choice);
    keep("coder.choice", choice);
  }, [id, choice]);
  useLayoutEffect(() => {
    const area = box.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, 320)}px`;
  }, [text]);

  const offered = (providers ?? []).filter((provider) => provider.installed && provider.enabled);
  const usable = offered.filter((provider) => obstacleOf(provider) === null);
  const tasks = Object.values(view.facts.tasks);
  const running = tasks.find((task) => task.state === "running");
  const lastAgent = tasks.toSorted((a, b) => (a.created_at < b.created_at ? 1 : -1))[0]?.agent;
  const provider =
    offered.find((one) => one.id === choice.agent) ?? usable.find((one) => one.id === lastAgent) ?? usable[0] ?? offered[0];
  const obstacle = provider ? obstacleOf(provider) : null;
  const model = provider?.models.find((one) => one.id === choice.models[provider.id]);
  const mode = provider?.modes.find((one) => one.id === choice.modes[provider.id]);
  const shownModel = model ?? provider?.models.find((one) => one.id === (view.story.models[provider.id] ?? provider.default_model));
  const shownMode = mode ?? provider?.modes.find((one) => one.id === (view.story.modes[provider.id] ?? provider.default_mode));
  const thinking = shownModel?.thinking_options.find((one) => one.id === choice.thinking[provider?.id ?? ""]);
  const canSend = text.trim() !== "" && provider !== undefined && obstacle === null;

  const urgency = provider ? urgencyOf(view.facts, provider.id) : null;

  const send = (when: "queue" | "steer" | "interrupt" = "queue") => {
    if (!canSend || !provider) return;
    prompt({
      session_id: id,
      agent: provider.id,
      input: text.trim(),
      model: model?.id ?? null,
      mode_id: mode?.id ?? null,
      thinking_option_id: thinking?.id ?? null,
      when,
    });
    setText("");
  };

  useAction("turn.stop", running && !running.cancel_requested && (() => void cancel(running.id)));
  useAction("prompt.focus", () => box.current?.focus());

  return (
    <form
      aria-label="Prompt"
      className="flex flex-col gap-1.5"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div className="flex flex-col rounded-lg border border-line-strong bg-raised shadow-raised focus-within:border-live/70">
        <textarea
          ref={box}
          rows={1}
          aria-label="Prompt"
          placeholder={provider ? `Ask ${provider.label} to change something` : "No agent can be asked yet"}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
            event.preventDefault();
            send((event.ctrlKey || event.metaKey) && urgency ? urgency : "queue");
          }}
          className="w-full resize-none bg-transparent px-3.5 pt-3 pb-1.5 text-base outline-none"
        />
        <div className="flex items-center gap-1 px-2 pb-2">
          <div className="flex min-w-0 flex-1 items-center gap-1 overflow-x-auto pr-5 [mask-image:linear-gradient(to_right,#000_calc(100%-1.25rem),transparent)]">
            {provider && (
              <Picker
                label="Agent"
                value={provider.id}
                onChange={(agent) => setChoice({ ...choice, agent })}
                options={offered.map((one) => ({ id: one.id, label: optionLabel(one) }))}
              />
            )}
            {provider && provider.models.length > 0 && (
              <Picker
                label="Model"
                value={shownModel?.id ?? ""}
                onChange={(value) => setChoice({ ...choice, models: { ...choice.models, [provider.id]: value } })}
                options={shownModel ? provider.models : [{ id: "", label: "Default model" }, ...provider.models]}
              />
            )}
            {provider && provider.modes.length > 0 && (
              <Picker
                label="Mode"
                value={shownMode?.id ?? ""}
                onChange={(value) => setChoice({ ...choice, modes: { ...choice.modes, [provider.id]: value } })}
                options={shownMode ? provider.modes : [{ id: "", label: "Default mode" }, ...provider.modes]}
              />
            )}
            {provider && shownModel && shownModel.thinking_options.length > 0 && (
              <Picker
                label="Thinking"
                value={thinking?.id ?? ""}
                onChange={(value) => setChoice({ ...choice, thinking: { ...choice.thinking, [provider.id]: value } })}
                options={[{ id: "", label: "Default thinking" }, ...shownModel.thinking_options]}
              />
            )}
          </div>
          {running && (
            <Button
              aria-label="Stop"
              title="Stop (Esc)"
              aria-keyshortcuts="Escape"
              className="h-8"
              disabled={running.cancel_requested}
              onClick={() => void cancel(running.id)}
            >
              <Square aria-hidden className="size-3 fill-current" /> <span className="hidden sm:inline">Stop</span>
            </Button>
          )}
          {canSend && urgency === "steer" && <Urgent urgency="steer" isFirst onSend={send} />}
          {canSend && urgency !== null && <Urgent urgency="interrupt" isFirst={urgency === "interrupt"} onSend={send} />}
          <Button
            type="submit"
            look="solid"
            aria-label={running ? "Queue prompt" : "Send prompt"}
            title={running ? "Queue (Enter)" : "Send (Enter)"}
            className="size-8 px-0"
            disabled={!canSend}
          >
            <ArrowUp aria-hidden className="size-4" />
          </Button>
        </div>
      </div>
      <Below provider={provider} obstacle={obstacle} urgency={urgency} view={view} isLoaded={providers !== null} />
    </form>
  );
}

/** A way to send now. The first one offered has the keys. */
function Urgent({ urgency, isFirst, onSend }: { urgency: Urgency; isFirst: boolean; onSend: (when: Urgency) => void }) {
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
      <Icon aria-hidden className="size-3.5" /> <span className="hidden sm:inline">{word}</span>
    </Button>
  );
}

function optionLabel(provider: ProviderSnapshot): string {
  const obstacle = obstacleOf(provider);
  return obstacle ? `${provider.label} (${obstacle})` : provider.label;
}

interface PickerProps {
  label: string;
  value: string;
  options: readonly { id: string; label: string }[];
  onChange: (value: string) => void;
}

function Picker({ label, value, options, onChange }: PickerProps) {
  const shown = options.find((option) => option.id === value)?.label ?? value;
  return (
    <span className="relative inline-flex h-7 max-w-44 min-w-0 shrink-0 items-center gap-1 rounded-md px-2 text-xs text-soft focus-within:outline-2 focus-within:outline-live hover:bg-hover hover:text-ink">
      <span aria-hidden className="truncate">
        {shown}
      </span>
      <ChevronDown aria-hidden className="size-3 shrink-0 text-faint" />
      <select
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

function Below({
  provider,
  obstacle,
  urgency,
  view,
  isLoaded,
}: {
  provider: ProviderSnapshot | undefined;
  obstacle: string | null;
  urgency: Urgency | null;
  view: View;
  isLoaded: boolean;
}) {
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
  const usage = view.story.usage[provider.id];
  return (
    <p className="flex h-4 items-center justify-between px-1 text-2xs text-faint">
      <span className="hidden sm:inline">
        {urgency ? `Enter queues · ${CONTROL}+Enter ${URGENCY[urgency].verb}` : "Enter sends"} · Shift+Enter starts a new line
      </span>
      {usage?.context_used != null && (
        <span className="ml-auto tabular-nums">
          {tokensOf(usage.context_used)}
          {usage.context_size != null && ` of ${tokensOf(usage.context_size)}`} tokens in context
          {usage.cost != null && ` · $${usage.cost.toFixed(2)}`}
        </span>
      )}
    </p>
  );
}
