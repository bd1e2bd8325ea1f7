import { useState } from "react";

import { useLandmark } from "./columns.ts";
import { Button, Spinner, Trouble } from "./controls.tsx";
import type { Standing } from "./fold.ts";
import type { Recipe, Setup } from "./protocol.ts";
import { actOnSetup } from "./sessions.ts";
import { dismiss, usePane } from "./store.ts";
import { plainOutput, setupWords } from "./words.ts";

/** What keeps prompts waiting, in words, with what can be done about it. Quiet once the setup is through. */
export function SetupLine({ view }: { view: Standing }) {
  const { setup, session } = view.facts;
  const deed = usePane((state) => (setup ? state.deeds[`setup:${setup.session_id}`] : undefined));
  const [isOpen, setOpen] = useState(false);
  const landmark = useLandmark("Worktree setup");
  if (!setup || setup.state === "none" || setup.state === "done") return null;
  const isBusy = deed?.state === "busy";
  const needsWord = setup.state === "untrusted" || (setup.state === "skipped" && setup.recipe !== null && asksForTrust(setup.recipe));
  const canRun = setup.recipe !== null && (setup.state === "failed" || setup.state === "skipped");
  const press = (action: "trust" | "run" | "skip") => void actOnSetup(setup, session.project_id, action);
  return (
    <section
      aria-label={landmark}
      className={`flex flex-col gap-2 rounded-lg border px-3 py-2 text-xs ${setup.holds ? "border-ask-strong bg-ask-soft" : "border-line bg-sunken"}`}
    >
      <div className="flex flex-wrap items-center gap-2">
        <p role="status" className="flex min-w-0 flex-1 basis-60 items-center gap-2 break-words">
          {(setup.state === "running" || setup.state === "pending") && <Spinner className="size-3.5 shrink-0" />}
          {setupWords(setup)}
        </p>
        <Button look="quiet" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? "Hide details" : "Details"}
        </Button>
        {needsWord ? (
          <Button look="ask" disabled={isBusy} onClick={() => press("trust")}>
            Trust and run
          </Button>
        ) : (
          canRun && (
            <Button disabled={isBusy} onClick={() => press("run")}>
              Run again
            </Button>
          )
        )}
        {setup.holds && (
          <Button disabled={isBusy} onClick={() => press("skip")}>
            Skip
          </Button>
        )}
      </div>
      {(isOpen || setup.state === "untrusted") && <Details setup={setup} />}
      {deed?.state === "refused" && <Trouble words={deed.words} onDismiss={() => dismiss(`setup:${setup.session_id}`)} />}
    </section>
  );
}

function asksForTrust(recipe: Recipe): boolean {
  return !!recipe.setup || !!recipe.teardown || Object.keys(recipe.env).length > 0;
}

function Details({ setup }: { setup: Setup }) {
  const { recipe } = setup;
  const variables = Object.entries(recipe?.env ?? {}).map(([name, value]) => `${name}=${value}`);
  const log = plainOutput(setup.log).trim();
  return (
    <div className="flex flex-col gap-1.5">
      {recipe?.setup && <Shown label="Setup" text={commandOf(recipe.setup.command)} />}
      {recipe?.teardown && <Shown label="Teardown" text={commandOf(recipe.teardown.command)} />}
      {variables.length > 0 && <Shown label="Variables" text={variables.join("\n")} />}
      {log && <Shown label="Log" text={log} />}
      <p className="truncate text-2xs text-faint" title={setup.digest ?? undefined}>
        {setup.source} · {setup.digest?.slice(0, 16)}
      </p>
    </div>
  );
}

function Shown({ label, text }: { label: string; text: string }) {
  return (
    <div>
      <span className="text-2xs text-faint">{label}</span>
      <pre className="max-h-40 overflow-auto rounded-md bg-raised px-2 py-1 font-mono text-2xs break-words whitespace-pre-wrap">{text}</pre>
    </div>
  );
}

function commandOf(command: string | string[]): string {
  return typeof command === "string" ? command : command.map((word) => (/^[\w./:=@%+-]+$/.test(word) ? word : JSON.stringify(word))).join(" ");
}
