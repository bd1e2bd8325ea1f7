// The sessions of the address side by side, and beside them the part of the one that has the keys.

import { Fragment, useContext, useEffect, useMemo, useRef, type ReactNode } from "react";

import { runIn, useAction } from "./actions.ts";
import { ColumnContext, closeColumn, divided, giveKeys, moved, sharesOf, stepped, type Column } from "./columns.ts";
import { Divider, Separator, useWidth } from "./divider.tsx";
import { useIsWide, useLayout } from "./layout.ts";
import { PHONE, useMedia } from "./media.ts";
import { PartColumn, PartPanel } from "./part.tsx";
import { prefer, usePreferences } from "./preferences.ts";
import { alone, go, turnTo, type SessionRoute } from "./route.ts";
import { SessionScreen } from "./session.tsx";
import { sessionIn, usePane, useStanding } from "./store.ts";

export function Arena({ route }: { route: SessionRoute }) {
  const isPhone = useMedia(PHONE);
  const ids = isPhone ? [route.id] : route.ids;
  const count = ids.length;
  const shares = sharesOf(usePreferences((state) => state.shares[count]), count);
  const columnOf = (id: string): Column => ({ id, number: ids.indexOf(id) + 1, count, hasKeys: id === route.id });
  useColumnActions(route, count > 1);
  const isLoaded = usePane((state) => state.views[route.id] !== undefined);
  const isPart = useLayout((state) => state.tab === "part");
  return (
    <div className="flex h-full min-h-0">
      {!(isPhone && isPart && isLoaded) && (
        <div className="flex min-w-0 flex-1 overflow-x-auto overflow-y-hidden">
          {ids.map((id, at) => (
            <Fragment key={id}>
              {at > 0 && <ColumnDivider shares={shares} left={at - 1} />}
              <Stand {...columnOf(id)} share={shares[at] ?? 1} />
            </Fragment>
          ))}
        </div>
      )}
      <InColumn {...columnOf(route.id)}>
        <Beside key={route.id} id={route.id} />
      </InColumn>
    </div>
  );
}

function InColumn({ id, number, count, hasKeys, children }: Column & { children: ReactNode }) {
  const column = useMemo(() => ({ id, number, count, hasKeys }), [id, number, count, hasKeys]);
  return <ColumnContext value={column}>{children}</ColumnContext>;
}

/** One column. Whatever is touched or focused in it gives it the keys. */
function Stand({ share, ...column }: Column & { share: number }) {
  const { id, number, count, hasKeys } = column;
  const box = useRef<HTMLElement>(null);
  const name = usePane((state) => sessionIn(state, id)?.name) ?? "Session";
  const isLoaded = usePane((state) => state.views[id] !== undefined);
  useFocusWithKeys(box, column, isLoaded);
  useInSight(box, column);
  const isOne = count === 1;
  return (
    <section
      ref={box}
      aria-label={isOne ? undefined : `Column ${number} of ${count}: ${name}`}
      aria-current={!isOne && hasKeys ? "true" : undefined}
      tabIndex={isOne ? undefined : -1}
      data-column={id}
      onFocusCapture={() => giveKeys(id)}
      onPointerDownCapture={() => giveKeys(id)}
      style={{ flexGrow: share }}
      className={`h-full min-w-0 basis-0 outline-none ${isOne ? "" : "min-w-80"}`}
    >
      <InColumn {...column}>
        <SessionScreen id={id} />
      </InColumn>
    </section>
  );
}

/** Where keys took the column, and not a touch, the focus follows: no word is written into a column that lost them. */
function useFocusWithKeys(box: { readonly current: HTMLElement | null }, { id, hasKeys }: Column, isLoaded: boolean): void {
  const isFirst = useRef(true);
  useEffect(() => {
    const isOpening = isFirst.current;
    isFirst.current = false;
    const area = box.current;
    const active = document.activeElement;
    if (!hasKeys || !area || (active !== area && area.contains(active))) return;
    const isLost = active === document.body && !isOpening;
    const isElsewhere = active?.closest("[data-column]") != null;
    if ((isLost || isElsewhere) && !runIn(id, "prompt.focus")) area.focus({ preventScroll: true });
  }, [box, id, hasKeys, isLoaded]);
}

/** The column that has the keys is in sight, also once there is less room for all of them. */
function useInSight(box: { readonly current: HTMLElement | null }, { hasKeys, count }: Column): void {
  useEffect(() => {
    const row = box.current?.parentElement;
    if (!row || !hasKeys || count === 1) return;
    const watch = new ResizeObserver(() => box.current?.scrollIntoView({ inline: "nearest", block: "nearest" }));
    watch.observe(row);
    return () => watch.disconnect();
  }, [box, hasKeys, count]);
}

const WIDTH = { usual: 50, least: 20, most: 80, step: 4 };

function ColumnDivider({ shares, left }: { shares: readonly number[]; left: number }) {
  const [one = 1, other = 1] = shares.slice(left, left + 2);
  const resize = (percent: number) => {
    const kept = usePreferences.getState().shares;
    prefer({ shares: { ...kept, [shares.length]: divided(shares, left, percent) } });
  };
  return (
    <Separator
      label={`Width of column ${left + 1}`}
      value={Math.round((100 * one) / (one + other))}
      {...WIDTH}
      pixelsOf={pixelsOfPercent}
      onChange={resize}
    />
  );
}

/** Of the two columns beside the divider. */
function pixelsOfPercent(divider: HTMLElement): number {
  const sides = [divider.previousElementSibling, divider.nextElementSibling];
  return sides.reduce((sum, side) => sum + (side?.getBoundingClientRect().width ?? 0), 0) / 100 || 1;
}

function useColumnActions(route: SessionRoute, hasOthers: boolean): void {
  const at = route.ids.indexOf(route.id);
  useAction("column.next", hasOthers && (() => turnTo(stepped(route, 1))));
  useAction("column.previous", hasOthers && (() => turnTo(stepped(route, -1))));
  useAction("column.left", hasOthers && at > 0 && (() => go(moved(route, -1))));
  useAction("column.right", hasOthers && at < route.ids.length - 1 && (() => go(moved(route, 1))));
  useAction("column.close", hasOthers && (() => closeColumn(route.id)));
  useAction("column.only", hasOthers && (() => go(alone(route.id))));
}

const PART = { name: "part", usual: 460, least: 320, most: 1100 };

/** The part of the session: beside it, over it where the window is narrow, alone on a phone. */
function Beside({ id }: { id: string }) {
  const view = useStanding(id);
  const column = useContext(ColumnContext);
  const isPhone = useMedia(PHONE);
  const isWide = useIsWide();
  const isShowing = useLayout((state) => (isPhone ? state.tab === "part" : isWide ? state.isBeside : state.isOver));
  const width = useWidth(PART);
  if (!view || !isShowing || !column) return null;
  if (isPhone) {
    return (
      <div className="min-w-0 flex-1">
        <PartColumn id={id} view={view} />
      </div>
    );
  }
  const panel = <PartPanel id={id} view={view} />;
  if (!isWide) return <div className="fixed inset-y-0 right-0 z-20 w-[min(32rem,90vw)] border-l border-line shadow-raised">{panel}</div>;
  return (
    <>
      <Divider {...PART} label="Width of the side panel" grows="right" />
      <div style={{ width }} className="max-w-[60vw] min-w-0 shrink-0">
        {panel}
      </div>
    </>
  );
}
