// Files that go with a prompt: pasted, dropped or chosen, shown as chips until it is sent.

import { File as FileIcon, X } from "lucide-react";

import type { Attachment, ProviderSnapshot } from "./protocol.ts";
import { Plain } from "./plain.tsx";

export const SIZE_LIMIT = 10 * 1024 * 1024;

/** Read files into attachments. Says in words which ones are too large or cannot be read. */
export async function attachmentsOf(files: readonly File[], taken: number): Promise<{ attachments: Attachment[]; trouble: string | null }> {
  const attachments: Attachment[] = [];
  let size = taken;
  for (const file of files) {
    if (size + file.size > SIZE_LIMIT) return { attachments, trouble: `${file.name} is too large: a prompt takes 10 MB of files.` };
    try {
      const data = base64Of(new Uint8Array(await file.arrayBuffer()));
      attachments.push({ name: file.name || "pasted", mime_type: file.type || "application/octet-stream", data, uri: null });
      size += file.size;
    } catch {
      return { attachments, trouble: `${file.name} cannot be read. Folders cannot be attached.` };
    }
  }
  return { attachments, trouble: null };
}

export function base64Of(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

export function sizeOf(attachments: readonly Attachment[]): number {
  return attachments.reduce((sum, { data }) => sum + ((data?.length ?? 0) * 3) / 4, 0);
}

/** Why the agent would not take it; text goes to every agent. */
export function refusalOf({ mime_type, data }: Attachment, provider: ProviderSnapshot | undefined): string | null {
  if (!provider || data === null) return null;
  if (mime_type.startsWith("image/")) return provider.accepts_images || provider.accepts_files ? null : `${provider.label} takes no images`;
  if (mime_type.startsWith("audio/")) return provider.accepts_audio || provider.accepts_files ? null : `${provider.label} takes no sound`;
  if (provider.accepts_files || isText(data)) return null;
  return `${provider.label} takes text files only`;
}

function isText(data: string): boolean {
  try {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    return !new TextDecoder("utf-8", { fatal: true }).decode(bytes).includes("\0");
  } catch {
    return false;
  }
}

interface ChipsProps {
  attachments: readonly Attachment[];
  provider: ProviderSnapshot | undefined;
  onRemove: (at: number) => void;
}

export function Chips({ attachments, provider, onRemove }: ChipsProps) {
  if (attachments.length === 0) return null;
  return (
    <ul aria-label="Attached files" className="flex flex-wrap gap-1.5 px-3 pt-2.5">
      {attachments.map((attachment, at) => {
        const refusal = refusalOf(attachment, provider);
        return (
          <li
            key={`${at} ${attachment.name}`}
            className={`flex h-8 max-w-60 items-center gap-1.5 rounded-md border px-1.5 text-xs ${refusal ? "border-bad bg-bad-soft text-bad" : "border-line bg-sunken"}`}
          >
            <Thumb attachment={attachment} />
            <span className="min-w-0 truncate" title={refusal ?? attachment.name}>
              <Plain text={attachment.name} />
              {refusal && ` · ${refusal}`}
            </span>
            <button type="button" aria-label={`Remove ${attachment.name}`} onClick={() => onRemove(at)} className="rounded-sm p-0.5 hover:bg-hover">
              <X aria-hidden className="size-3" />
            </button>
          </li>
        );
      })}
    </ul>
  );
}

function Thumb({ attachment }: { attachment: Attachment }) {
  if (attachment.data !== null && /^image\/(png|jpeg|gif|webp)$/.test(attachment.mime_type))
    return <img alt="" src={`data:${attachment.mime_type};base64,${attachment.data}`} className="size-5 rounded-sm object-cover" />;
  return <FileIcon aria-hidden className="size-3.5 shrink-0" />;
}
