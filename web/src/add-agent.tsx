// A command is code: the pane writes it down, the owner of the machine runs it in a terminal.

import { useState } from "react";

import { CopyButton } from "./output.tsx";
import { Dialog, FIELD, Field } from "./controls.tsx";

/** Quoted for a shell where that is needed. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

export function addCommand(id: string, label: string, command: string): string {
  return ["coder", "providers", "add", shellWord(id.trim()), "--label", shellWord(label.trim() || id.trim()), "--", command.trim()].join(" ");
}

export default function AddAgent({ onClose }: { onClose: () => void }) {
  const [id, setId] = useState("");
  const [label, setLabel] = useState("");
  const [command, setCommand] = useState("");
  const isReady = /^[a-z0-9][a-z0-9._-]*$/.test(id.trim()) && command.trim() !== "";
  const line = addCommand(id, label, command);
  return (
    <Dialog title="Add an agent" onClose={onClose}>
      <p className="text-soft">Any program that speaks the Agent Client Protocol over its standard input and output can be an agent.</p>
      <Field label="Name" hint="Small letters, digits, dots and dashes.">
        <input autoFocus spellCheck={false} autoCapitalize="off" placeholder="my-agent" value={id} onChange={(event) => setId(event.target.value)} className={`${FIELD} h-9 font-mono`} />
      </Field>
      <Field label="Shown as">
        <input placeholder="My agent" value={label} onChange={(event) => setLabel(event.target.value)} className={`${FIELD} h-9`} />
      </Field>
      <Field label="Command" hint="The program and its arguments, as in a terminal.">
        <input spellCheck={false} autoCapitalize="off" placeholder="my-agent --acp" value={command} onChange={(event) => setCommand(event.target.value)} className={`${FIELD} h-9 font-mono`} />
      </Field>
      <div aria-live="polite" className="flex flex-col gap-1.5">
        {isReady ? (
          <>
            <p className="text-xs text-soft">
              A command runs with your rights, so this page does not add it. Run this in a terminal on the host's machine, then press Refresh:
            </p>
            <div className="group/line relative">
              <pre tabIndex={0} aria-label="Command to run" className="overflow-x-auto rounded-md border border-line bg-sunken px-3 py-2 pr-9 font-mono text-xs">
                {line}
              </pre>
              <CopyButton text={() => line} label="Copy command" className="opacity-100" />
            </div>
          </>
        ) : (
          <p className="text-xs text-soft">With a name and a command, the line to run appears here.</p>
        )}
      </div>
    </Dialog>
  );
}
