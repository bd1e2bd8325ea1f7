// Why an agent does not work: everything the host knows of it.

import { useEffect, useState, type ReactNode } from "react";

import { api, wordsOf } from "./api.ts";
import { Dialog, Spinner, Trouble } from "./controls.tsx";
import { Output } from "./output.tsx";
import { Plain } from "./plain.tsx";
import type { Diagnostic, ProviderSnapshot } from "./protocol.ts";
import { clockOf } from "./words.ts";

export default function Diagnose({ provider, onClose }: { provider: ProviderSnapshot; onClose: () => void }) {
  const [found, setFound] = useState<Diagnostic | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  useEffect(() => {
    let isCurrent = true;
    api.diagnostic(provider.id).then(
      (answer) => isCurrent && setFound(answer),
      (error: unknown) => isCurrent && setTrouble(wordsOf(error)),
    );
    return () => {
      isCurrent = false;
    };
  }, [provider.id]);
  return (
    <Dialog title={`What the host knows of ${provider.label}`} onClose={onClose}>
      {trouble ? (
        <Trouble words={trouble} />
      ) : found === null ? (
        <p className="flex items-center gap-2 text-soft">
          <Spinner /> Looking…
        </p>
      ) : (
        <Findings found={found} />
      )}
    </Dialog>
  );
}

function Findings({ found }: { found: Diagnostic }) {
  return (
    <div className="flex flex-col gap-3">
      {found.advice.length > 0 && (
        <ul className="flex list-disc flex-col gap-1 rounded-md bg-ask-soft py-2 pr-3 pl-6 text-xs text-ask">
          {found.advice.map((words) => (
            <li key={words}>{words}</li>
          ))}
        </ul>
      )}
      <dl className="grid grid-cols-[7rem_minmax(0,1fr)] gap-x-3 gap-y-1.5 text-xs">
        <Fact word="Command">{found.command.join(" ")}</Fact>
        <Fact word="Found at">{found.resolved_path ?? "nowhere"}</Fact>
        <Fact word="Version">{found.version ?? "not told"}</Fact>
        {found.probed_at && <Fact word="Last asked">{clockOf(found.probed_at)}</Fact>}
        {!found.resolved_path && <Fact word="Looked in">{found.searched.join("\n")}</Fact>}
        {found.env_present.length > 0 && <Fact word="Variables set">{found.env_present.join(", ")}</Fact>}
        {found.env_missing.length > 0 && <Fact word="Not set">{found.env_missing.join(", ")}</Fact>}
        {found.probe?.error && <Fact word="Its error">{found.probe.error}</Fact>}
      </dl>
      {found.stderr && (
        <div className="rounded-md border border-line">
          <Output label="What it last wrote to its error stream" text={found.stderr} isTerminal />
        </div>
      )}
    </div>
  );
}

function Fact({ word, children }: { word: string; children: ReactNode }) {
  return (
    <>
      <dt className="text-soft">{word}</dt>
      <dd className="font-mono break-words whitespace-pre-wrap">{typeof children === "string" ? <Plain text={children} /> : children}</dd>
    </>
  );
}
