import { ArrowUp, Paperclip, Square } from "lucide-react";
import { useEffect, useLayoutEffect, useRef, useState, type KeyboardEvent } from "react";

import { useAction } from "./actions.ts";
import { Chips, attachmentsOf, refusalOf, sizeOf } from "./attachments.tsx";
import { choiceIn, keepChoice } from "./choice.ts";
import { useLandmark } from "./columns.ts";
import { completed, stepped, stillMentioned, wantedAt, type Wanted } from "./complete.ts";
import { Completion, useChoices } from "./completion.tsx";
import { Button, IconButton, Trouble } from "./controls.tsx";
import { useDraft } from "./drafts.ts";
import { urgencyOf, type Item, type PromptItem, type Standing } from "./fold.ts";
import { useTip } from "./kbd.tsx";
import { Below, Picker, Urgent, optionLabel } from "./pickers.tsx";
import { cancel, prompt } from "./prompts.ts";
import type { Attachment } from "./protocol.ts";
import { usePane } from "./store.ts";
import { warm } from "./warm.ts";
import { obstacleOf } from "./words.ts";

/** Words that are not sent yet survive a reload; so does the choice of agent, model and mode. */
export function Composer({ id, view }: { id: string; view: Standing }) {
  const providers = usePane((state) => state.providers);
  const models = usePane((state) => state.views[id]?.story.models);
  const modes = usePane((state) => state.views[id]?.story.modes);
  const told = usePane((state) => state.views[id]?.story.commands);
  const [text, setText] = useDraft(id);
  const [choice, setChoice] = useState(() => choiceIn(id));
  const [attachments, setAttachments] = useState<readonly Attachment[]>([]);
  const [mentioned, setMentioned] = useState<readonly string[]>([]);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [wanted, setWanted] = useState<Wanted | null>(null);
  const [isOver, setOver] = useState(false);
  const box = useRef<HTMLTextAreaElement>(null);
  const file = useRef<HTMLInputElement>(null);
  const past = usePast(id);
  const landmark = useLandmark("Prompt");

  useEffect(() => keepChoice(id, choice), [id, choice]);
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
  const shownModel = model ?? provider?.models.find((one) => one.id === (models?.[provider.id] ?? provider.default_model));
  const shownMode = mode ?? provider?.modes.find((one) => one.id === (modes?.[provider.id] ?? provider.default_mode));
  const thinking = shownModel?.thinking_options.find((one) => one.id === choice.thinking[provider?.id ?? ""]);
  const isTaken = attachments.every((one) => refusalOf(one, provider) === null);
  const canSend = text.trim() !== "" && provider !== undefined && obstacle === null && isTaken;
  const urgency = provider ? urgencyOf(view.facts, provider.id) : null;
  const commands = provider ? (told?.[provider.id] ?? provider.commands) : [];
  const completion = useChoices(id, wanted, commands);
  const isCompleting = wanted !== null && completion.choices.length > 0;

  const send = (when: "queue" | "steer" | "interrupt" = "queue") => {
    if (!canSend || !provider) return;
    const root = view.facts.session.worktree_path;
    const files = root ? stillMentioned(text, mentioned).map((path) => mention(root, path)) : [];
    prompt({
      session_id: id,
      agent: provider.id,
      input: text.trim(),
      model: model?.id ?? null,
      mode_id: mode?.id ?? null,
      thinking_option_id: thinking?.id ?? null,
      attachments: [...attachments, ...files],
      when,
    });
    past.leave();
    write("", 0);
    setAttachments([]);
    setMentioned([]);
  };
  const write = (next: string, caret: number) => {
    setText(next);
    setWanted(null);
    requestAnimationFrame(() => box.current?.setSelectionRange(caret, caret));
  };
  const choose = (value: string | undefined) => {
    if (!wanted || value === undefined) return;
    const next = completed(text, wanted, value);
    if (wanted.kind === "file") setMentioned([...mentioned.filter((path) => path !== value), value]);
    write(next.text, next.caret);
  };
  const attach = async (files: readonly File[]) => {
    if (files.length === 0) return;
    const found = await attachmentsOf(files, sizeOf(attachments));
    setAttachments((known) => [...known, ...found.attachments]);
    setTrouble(found.trouble);
  };
  const look = () => {
    const area = box.current;
    if (area) setWanted(area.selectionStart === area.selectionEnd ? wantedAt(area.value, area.selectionStart) : null);
  };

  const [attachTip, stopTip] = [useTip("prompt.attach", "Attach a file"), useTip("turn.stop", "Stop")];
  useAction("turn.stop", running && !running.cancel_requested && (() => void cancel(running.id)));
  useAction("prompt.focus", () => box.current?.focus());
  useAction("prompt.attach", () => file.current?.click());

  /** The keys of an open list come first, then those of the prompt. */
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.nativeEvent.isComposing || event.keyCode === 229) return;
    const area = event.currentTarget;
    const isPlain = !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (isCompleting && isPlain && /^(ArrowUp|ArrowDown|Enter|Tab|Escape)$/.test(event.key)) {
      event.preventDefault();
      if (event.key === "ArrowUp") completion.move(-1);
      else if (event.key === "ArrowDown") completion.move(1);
      else if (event.key === "Escape") setWanted(null);
      else choose(completion.choices[completion.chosen]?.value);
    } else if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      send((event.ctrlKey || event.metaKey) && urgency ? urgency : "queue");
    } else if (isPlain && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      const next = past.step(event.key === "ArrowUp" ? 1 : -1, area);
      if (next === null) return;
      event.preventDefault();
      write(next, next.length);
    }
  };

  return (
    <form
      aria-label={landmark}
      className="@container relative flex flex-col gap-1.5"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
      onDragOver={(event) => {
        if (!event.dataTransfer.types.includes("Files")) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => !event.currentTarget.contains(event.relatedTarget as Node | null) && setOver(false)}
      onDrop={(event) => {
        if (!event.dataTransfer.types.includes("Files")) return;
        event.preventDefault();
        setOver(false);
        void attach([...event.dataTransfer.files]);
      }}
    >
      {isCompleting && wanted && (
        <Completion wanted={wanted} choices={completion.choices} chosen={completion.chosen} listId={completion.listId} onHover={completion.setChosen} onChoose={choose} />
      )}
      {trouble && <Trouble words={trouble} onDismiss={() => setTrouble(null)} />}
      <div className={`flex flex-col rounded-lg border bg-raised shadow-raised focus-within:border-live/70 ${isOver ? "border-live" : "border-line-strong"}`}>
        <Chips attachments={attachments} provider={provider} onRemove={(at) => setAttachments(attachments.filter((_, one) => one !== at))} />
        <textarea
          ref={box}
          rows={1}
          aria-label="Prompt"
          aria-autocomplete="list"
          aria-controls={isCompleting ? completion.listId : undefined}
          aria-activedescendant={isCompleting ? `${completion.listId}-${completion.chosen}` : undefined}
          placeholder={provider ? `Ask ${provider.label} to change something` : "No agent can be asked yet"}
          value={text}
          onChange={(event) => {
            past.leave();
            setText(event.target.value);
            look();
            if (provider && !obstacle) warm(id, provider.id);
          }}
          onSelect={look}
          onBlur={() => setWanted(null)}
          onPaste={(event) => {
            const files = [...event.clipboardData.files];
            if (files.length === 0) return;
            event.preventDefault();
            void attach(files);
          }}
          onKeyDown={onKeyDown}
          className="w-full resize-none bg-transparent px-3.5 pt-3 pb-1.5 text-base outline-none"
        />
        <div className="flex items-center gap-1 px-2 pb-2">
          <IconButton label="Attach a file" title={attachTip} onClick={() => file.current?.click()}>
            <Paperclip aria-hidden className="size-3.5" />
          </IconButton>
          <input
            ref={file}
            type="file"
            multiple
            hidden
            aria-label="Files to attach"
            onChange={(event) => {
              void attach([...(event.target.files ?? [])]);
              event.target.value = "";
            }}
          />
          <div className="flex min-w-0 flex-1 items-center gap-1 overflow-x-auto pr-5 [mask-image:linear-gradient(to_right,#000_calc(100%-1.25rem),transparent)]">
            {provider && (
              <Picker
                label="Agent"
                action="prompt.agent"
                value={provider.id}
                onChange={(agent) => {
                  setChoice({ ...choice, agent });
                  if (usable.some((one) => one.id === agent)) warm(id, agent);
                }}
                options={offered.map((one) => ({ id: one.id, label: optionLabel(one) }))}
              />
            )}
            {provider && provider.models.length > 0 && (
              <Picker
                label="Model"
                action="prompt.model"
                value={shownModel?.id ?? ""}
                onChange={(value) => setChoice({ ...choice, models: { ...choice.models, [provider.id]: value } })}
                options={shownModel ? provider.models : [{ id: "", label: "Default model" }, ...provider.models]}
              />
            )}
            {provider && provider.modes.length > 0 && (
              <Picker
                label="Mode"
                action="prompt.mode"
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
              title={stopTip}
              className="h-8"
              disabled={running.cancel_requested}
              onClick={() => void cancel(running.id)}
            >
              <Square aria-hidden className="size-3 fill-current" /> <span className="hidden @md:inline">Stop</span>
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
      <Below provider={provider} obstacle={obstacle} urgency={urgency} sessionId={id} isLoaded={providers !== null} />
    </form>
  );
}

/** A file of the worktree by its place: the agent reads it itself. */
function mention(root: string, path: string): Attachment {
  return { name: path, mime_type: "text/plain", data: null, uri: `file://${encodeURI(`${root}/${path}`).replace(/[?#]/g, encodeURIComponent)}` };
}

/** The prompts of this session, called back with Up from an empty prompt, one after the other. */
function usePast(id: string) {
  const at = useRef(-1);
  return {
    leave: () => {
      at.current = -1;
    },
    /** The words to show, or null where the key means what it always means. */
    step: (by: 1 | -1, area: HTMLTextAreaElement): string | null => {
      if (at.current < 0 && (by < 0 || area.value !== "")) return null;
      const texts = pastOf(usePane.getState().views[id]?.story.items ?? []);
      if (at.current >= 0 && area.value !== texts[at.current]) return null;
      const next = stepped(texts, at.current, by);
      if (next === at.current) return null;
      at.current = next;
      return texts[next] ?? "";
    },
  };
}

function pastOf(items: readonly Item[]): string[] {
  const prompts = items.filter((item): item is PromptItem => item.kind === "prompt");
  return [...new Set(prompts.map(({ text }) => text).toReversed())];
}
