// The session's changes as a patch. Loaded when it is asked for.

import { Check, Copy, Download } from "lucide-react";
import { useState } from "react";

import type { PatchPart } from "../api.ts";
import { useDeed } from "../changes/deeds.ts";
import { Choices } from "../choices.tsx";
import { Button, Dialog, Trouble } from "../controls.tsx";
import { patch, patchDeed } from "./deeds.ts";
import { Refused } from "./refused.tsx";

export default function PatchDialog({ id, branch, onClose }: { id: string; branch: string; onClose: () => void }) {
  const [part, setPart] = useState<PatchPart>("all");
  const [said, setSaid] = useState<{ words: string; isBad: boolean } | null>(null);
  const name = patchDeed(id);
  const deed = useDeed(name);
  const isBusy = deed?.state === "busy";
  const take = async (use: (blob: Blob) => Promise<string>) => {
    setSaid(null);
    const blob = await patch(id, part);
    if (!blob) return;
    if (blob.size === 0) return setSaid({ words: "There is nothing in it: no file differs.", isBad: true });
    try {
      setSaid({ words: await use(blob), isBad: false });
    } catch {
      setSaid({ words: "The browser does not give the clipboard away. Download the patch instead.", isBad: true });
    }
  };
  const choose = (next: PatchPart) => {
    setPart(next);
    setSaid(null);
  };
  return (
    <Dialog title="Export as a patch" onClose={onClose}>
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault();
          void take(async (blob) => saved(blob, fileName(branch, part)));
        }}
      >
        <Choices
          label="What"
          value={part}
          onChange={choose}
          choices={[
            { value: "all", label: "Everything", hint: "From the commit where the session begins to the worktree" },
            { value: "applied", label: "What was applied", hint: "From the same commit" },
            { value: "pending", label: "What is pending", hint: "On top of what was applied" },
          ]}
        />
        <Refused name={name} deed={deed} />
        {said?.isBad && <Trouble words={said.words} />}
        <p role="status" className="flex min-h-4 items-center gap-1.5 text-xs text-soft">
          {said && !said.isBad && (
            <>
              <Check aria-hidden className="size-3.5 text-good" /> {said.words}
            </>
          )}
        </p>
        <div className="flex items-center justify-end gap-2">
          <Button disabled={isBusy} onClick={() => void take(async (blob) => copied(await blob.text()))}>
            <Copy aria-hidden className="size-3.5" /> Copy
          </Button>
          <Button type="submit" look="solid" disabled={isBusy}>
            <Download aria-hidden className="size-3.5" /> Download
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function fileName(branch: string, part: PatchPart): string {
  return `${branch.replaceAll("/", "-")}${part === "all" ? "" : `-${part}`}.patch`;
}

/** Have the browser keep it. Says how to use it. */
function saved(blob: Blob, name: string): string {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The download has begun with the click and holds what it needs.
  URL.revokeObjectURL(link.href);
  return `Saved ${name}: git apply takes it.`;
}

async function copied(text: string): Promise<string> {
  await navigator.clipboard.writeText(text);
  return "Copied: git apply takes it from standard input.";
}
