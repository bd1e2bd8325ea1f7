import { FolderGit2 } from "lucide-react";
import { useMemo, useState } from "react";

import { newKey, wordsOf } from "./api.ts";
import { openBeside, showSession } from "./columns.ts";
import { Button, Dialog, FIELD, Field, Trouble } from "./controls.tsx";
import { openSession, registerProject } from "./sessions.ts";
import { usePane } from "./store.ts";

const OTHER = "";

/** Choose a project, or register a repository on the way, and open a session in it. */
export function NewSession({ projectId, isBeside, onClose }: { projectId: string | null; isBeside: boolean; onClose: () => void }) {
  return (
    <Dialog title={isBeside ? "New session beside this one" : "New session"} onClose={onClose}>
      <NewSessionForm projectId={projectId} isBeside={isBeside} onDone={onClose} />
    </Dialog>
  );
}

interface FormProps {
  projectId: string | null;
  /** It is shown beside the session that has the keys, not in its place. */
  isBeside?: boolean;
  onDone: () => void;
}

export function NewSessionForm({ projectId, isBeside = false, onDone }: FormProps) {
  const projects = usePane((state) => state.projects);
  const [chosen, setChosen] = useState(projectId ?? projects.at(-1)?.id ?? OTHER);
  const [path, setPath] = useState("");
  const [name, setName] = useState("");
  // The same wish keeps its key, so that a lost answer does not open a second session.
  const key = useMemo(newKey, [chosen, name]);
  const [isBusy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const submit = async () => {
    setBusy(true);
    setTrouble(null);
    try {
      const project = chosen === OTHER ? (await registerProject(path)).id : chosen;
      setChosen(project);
      const session = await openSession(project, name, key);
      onDone();
      if (isBeside) openBeside(session.id);
      else showSession(session.id);
    } catch (error) {
      setTrouble(wordsOf(error));
      setBusy(false);
    }
  };
  return (
    <form
      aria-label="New session"
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      {projects.length > 0 && (
        <Field label="Project">
          <select className={`${FIELD} h-9`} value={chosen} onChange={(event) => setChosen(event.target.value)}>
            {projects.map((project) => (
              <option key={project.id} value={project.id}>
                {project.name}
              </option>
            ))}
            <option value={OTHER}>Another repository…</option>
          </select>
        </Field>
      )}
      {chosen === OTHER && (
        <Field label="Repository path" hint="The folder of a git repository on the host's machine.">
          <input
            autoFocus
            required
            spellCheck={false}
            autoCapitalize="off"
            placeholder="/home/me/project"
            value={path}
            onChange={(event) => setPath(event.target.value)}
            className={`${FIELD} h-9 font-mono`}
          />
        </Field>
      )}
      <Field label="Name" hint="The session gets its own worktree and branch; your checkout stays as it is.">
        <input
          placeholder="Optional"
          maxLength={200}
          value={name}
          onChange={(event) => setName(event.target.value)}
          className={`${FIELD} h-9`}
        />
      </Field>
      {trouble && <Trouble words={trouble} />}
      <div className="flex justify-end">
        <Button type="submit" look="solid" className="h-9 px-4 text-sm" disabled={isBusy || (chosen === OTHER && !path.trim())}>
          <FolderGit2 aria-hidden className="size-4" />
          {isBusy ? "Opening…" : "Open session"}
        </Button>
      </div>
    </form>
  );
}
