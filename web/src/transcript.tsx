import { useAction } from "./actions.ts";
import { Button, Spinner, Trouble } from "./controls.tsx";
import { queueOf, urgencyOf, type Item, type ToolItem, type View } from "./fold.ts";
import { loadOlder } from "./follow.ts";
import { ItemView, type Single } from "./items.tsx";
import { Queued, Sending } from "./queue.tsx";
import { useStickToBottom } from "./stick.ts";
import { dismiss, usePane } from "./store.ts";
import { ToolCard } from "./tool.tsx";
import { Working } from "./turn.tsx";

const NEAR_TOP = 300;

export function Transcript({ id, view, onShowChanges }: { id: string; view: View; onShowChanges: () => void }) {
  const outbox = usePane((state) => state.outbox).filter(({ frame }) => frame.session_id === id);
  const older = usePane((state) => state.deeds[`older:${id}`]);
  const { items } = view.story;
  const tasks = Object.values(view.facts.tasks);
  const queued = queueOf(view.facts);
  const running = tasks.find((task) => task.state === "running");
  const root = view.facts.session.worktree_path;
  const stick = useStickToBottom(items[0]?.key, [items, queued.length, outbox.length]);
  useAction("log.latest", stick.toBottom);
  return (
    <div className="relative min-h-0 flex-1">
      <div
        ref={stick.ref}
        role="log"
        aria-label="Transcript"
        aria-live="off"
        tabIndex={0}
        onScroll={(event) => {
          stick.onScroll();
          if (event.currentTarget.scrollTop < NEAR_TOP && view.hasMore) void loadOlder(id);
        }}
        className="h-full overflow-y-auto overscroll-contain [overflow-anchor:none] focus-visible:outline-offset-[-2px]"
      >
        <div className="mx-auto flex w-full max-w-[46rem] flex-col gap-3 px-4 pt-5 pb-6 sm:px-6">
          {view.hasMore && (
            <div className="flex justify-center">
              {older?.state === "refused" ? (
                <Trouble words={older.words} onDismiss={() => dismiss(`older:${id}`)} />
              ) : (
                <Button look="quiet" disabled={older?.state === "busy"} onClick={() => void loadOlder(id)}>
                  {older?.state === "busy" && <Spinner />} Show earlier
                </Button>
              )}
            </div>
          )}
          {items.length === 0 && !running && queued.length === 0 && outbox.length === 0 && <Blank />}
          {grouped(items).map((group) =>
            group.kind === "tools" ? (
              <div key={group.key} className="overflow-hidden rounded-md border border-line bg-surface">
                {group.items.map((item) => (
                  <ToolCard key={item.key} item={item} root={root} />
                ))}
              </div>
            ) : (
              <ItemView
                key={group.item.key}
                item={group.item}
                isLast={group.item === items.at(-1)}
                onShowChanges={onShowChanges}
                view={view}
              />
            ),
          )}
          {running && <Working view={view} task={running} />}
          {queued.map((task, at) => (
            <Queued key={task.id} task={task} before={queued[at - 1]?.id ?? null} urgency={urgencyOf(view.facts, task.agent)} />
          ))}
          {outbox.map((outgoing) => (
            <Sending key={outgoing.frame.id} outgoing={outgoing} />
          ))}
        </div>
      </div>
      {!stick.isAtBottom && (
        <Button
          className="absolute bottom-3 left-1/2 -translate-x-1/2 rounded-full shadow-raised"
          onClick={stick.toBottom}
        >
          Jump to latest
        </Button>
      )}
    </div>
  );
}

function Blank() {
  return (
    <div className="mt-[12vh] flex flex-col gap-1 text-center text-soft">
      <p className="text-lg font-medium text-ink">What should be done here?</p>
      <p>Agents work in this session's own worktree. Your checkout changes only when you apply.</p>
    </div>
  );
}

type Group = { kind: "tools"; key: string; items: ToolItem[] } | { kind: "one"; item: Single };

/** Calls that follow each other share a frame. An open question stands in its own card, not between them. */
function grouped(items: readonly Item[]): Group[] {
  const groups: Group[] = [];
  for (const item of items) {
    const last = groups.at(-1);
    if (item.kind === "permission" && item.request.status === "pending") continue;
    if (item.kind !== "tool") groups.push({ kind: "one", item });
    else if (last?.kind === "tools") last.items.push(item);
    else groups.push({ kind: "tools", key: item.key, items: [item] });
  }
  return groups;
}
