// The conversation, newest at the end: only the rows in sight are there, and the end is kept in sight while one reads it.

import { memo, useLayoutEffect, useMemo, useRef, useState } from "react";
import { Virtualizer, type VirtualizerHandle } from "virtua";

import { useAction } from "./actions.ts";
import { Button, Spinner, Trouble } from "./controls.tsx";
import { Find } from "./find.tsx";
import { queueOf, urgencyOf, type TextItem, type View } from "./fold.ts";
import { loadAll, loadOlder } from "./follow.ts";
import { ItemView } from "./items.tsx";
import { useTip } from "./kbd.tsx";
import { repeat } from "./prompts.ts";
import { Queued, Sending } from "./queue.tsx";
import { areSame, rowsOf, type Row } from "./rows.ts";
import { useStickToBottom } from "./stick.ts";
import { dismiss, usePane } from "./store.ts";
import { Calls } from "./tool.tsx";
import { Working } from "./turn.tsx";

const NEAR_TOP = 300;
const AROUND = 700;
const HEAD = 44;
/** The guess for a row that was not seen yet; the median of measured ones, since a long prompt would spoil their mean. */
const USUAL = 48;

export function Transcript({ id, onShowChanges }: { id: string; onShowChanges: () => void }) {
  const view = usePane((state) => state.views[id]);
  return view && <Log id={id} view={view} onShowChanges={onShowChanges} />;
}

function Log({ id, view, onShowChanges }: { id: string; view: View; onShowChanges: () => void }) {
  const outbox = usePane((state) => state.outbox).filter(({ frame }) => frame.session_id === id);
  const older = usePane((state) => state.deeds[`older:${id}`]);
  const { items } = view.story;
  const rows = useMemo(() => rowsOf(items), [items]);
  const queued = queueOf(view.facts);
  const running = Object.values(view.facts.tasks).find((task) => task.state === "running");
  const stick = useStickToBottom([items, queued.length, outbox.length]);
  const list = useRef<VirtualizerHandle>(null);
  const isEarlier = useIsEarlier(rows);
  const [isFinding, setFinding] = useState(false);
  const goTo = (row: number) => {
    stick.leave();
    list.current?.scrollToIndex(row, { align: "center" });
  };
  const toBeginning = async () => {
    await loadAll(id);
    requestAnimationFrame(() => {
      stick.leave();
      list.current?.scrollToIndex(0);
    });
  };
  useAction("log.latest", stick.toBottom);
  useAction("log.earliest", () => void toBeginning());
  useAction("log.find", () => setFinding(true));
  const lastTurn = items.findLast((item) => item.kind === "turn");
  const lastAnswer = items.findLast((item): item is TextItem => item.kind === "text");
  useAction("turn.retry", !running && lastTurn && (() => repeat(lastTurn, view.facts.tasks[lastTurn.taskId ?? ""], id)));
  useAction("log.copy", lastAnswer && (() => void navigator.clipboard?.writeText(lastAnswer.text).catch(() => undefined)));
  const tip = useTip("log.latest", "Jump to latest");
  return (
    <div className="relative min-h-0 flex-1">
      {isFinding && (
        <Find
          rows={rows}
          log={stick.ref}
          hasMore={view.hasMore}
          isLoading={older?.state === "busy"}
          onLoadAll={() => void loadAll(id)}
          onGo={goTo}
          onClose={() => {
            setFinding(false);
            stick.ref.current?.focus({ preventScroll: true });
          }}
        />
      )}
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
        <div className="mx-auto w-full max-w-[46rem] px-4 pb-6 sm:px-6">
          <div style={{ height: HEAD }} className="flex items-center justify-center">
            {view.hasMore &&
              (older?.state === "refused" ? (
                <Trouble words={older.words} onDismiss={() => dismiss(`older:${id}`)} />
              ) : (
                <Button look="quiet" disabled={older?.state === "busy"} onClick={() => void loadOlder(id)}>
                  {older?.state === "busy" && <Spinner />} Show earlier
                </Button>
              ))}
          </div>
          {items.length === 0 && !running && queued.length === 0 && outbox.length === 0 && <Blank />}
          <Virtualizer ref={list} scrollRef={stick.ref} startMargin={HEAD} shift={isEarlier} bufferSize={AROUND} itemSize={USUAL} data={rows}>
            {(row, at) => (
              <RowView key={row.key} row={row} view={view} isGrowing={at === rows.length - 1 && running !== undefined} onShowChanges={onShowChanges} />
            )}
          </Virtualizer>
          <div className="flex flex-col gap-3">
            {running && <Working view={view} task={running} />}
            {queued.map((task, at) => (
              <Queued key={task.id} task={task} before={queued[at - 1]?.id ?? null} urgency={urgencyOf(view.facts, task.agent)} />
            ))}
            {outbox.map((outgoing) => (
              <Sending key={outgoing.frame.id} outgoing={outgoing} />
            ))}
          </div>
        </div>
      </div>
      {!stick.isAtBottom && (
        <Button title={tip} className="absolute bottom-3 left-1/2 -translate-x-1/2 rounded-full shadow-raised" onClick={stick.toBottom}>
          Jump to latest
        </Button>
      )}
    </div>
  );
}

/** Whether rows were put before the ones that were there: they must not push those out of sight. */
function useIsEarlier(rows: readonly Row[]): boolean {
  const known = useRef<{ first: string | undefined; count: number }>({ first: undefined, count: 0 });
  const first = rows[0]?.key;
  const isEarlier = known.current.count > 0 && known.current.first !== first && rows.length >= known.current.count;
  useLayoutEffect(() => {
    known.current = { first, count: rows.length };
  });
  return isEarlier;
}

interface RowProps {
  row: Row;
  view: View;
  isGrowing: boolean;
  onShowChanges: () => void;
}

const RowView = memo(
  function RowView({ row, view, isGrowing, onShowChanges }: RowProps) {
    const root = view.facts.session.worktree_path;
    if (row.kind === "one") {
      return (
        <div data-key={row.key} className="pb-3">
          <ItemView item={row.item} isGrowing={isGrowing} onShowChanges={onShowChanges} view={view} />
        </div>
      );
    }
    return (
      <div className="pb-3">
        <div className="overflow-hidden rounded-md border border-line bg-surface">
          <Calls calls={row.calls} root={root} />
        </div>
      </div>
    );
  },
  (before, after) => before.isGrowing === after.isGrowing && isSame(before.row, after.row),
);

function isSame(before: Row, after: Row): boolean {
  if (before.kind === "one") return after.kind === "one" && before.item === after.item;
  return after.kind === "tools" && areSame(before.calls, after.calls);
}

function Blank() {
  return (
    <div className="mt-[12vh] flex flex-col gap-1 text-center text-soft">
      <p className="text-lg font-medium text-ink">What should be done here?</p>
      <p>Agents work in this session's own worktree. Your checkout changes only when you apply.</p>
    </div>
  );
}
