// What keeping agents and sessions ready is worth: how often it served, how long that took, what it holds.

import type { ReactNode } from "react";

import type { PoolShare, SpareTotals } from "./protocol.ts";
import { usePane } from "./store.ts";
import { countOf, memoryOf, partOf, waitOf } from "./words.ts";

/** All agents together, and the sessions that are made ahead. */
export function HostWarmth() {
  const warmth = usePane((state) => state.warmth);
  if (!warmth || (warmth.pool.warm === 0 && warmth.spares.openings === 0)) return null;
  const { pool, spares } = warmth;
  return (
    <dl aria-label="Kept warm" className="grid grid-cols-2 gap-x-6 gap-y-3 rounded-lg border border-line bg-surface px-4 py-3 sm:grid-cols-3">
      <Figure name="Warm agents" note={`of at most ${pool.limit}`}>
        {pool.warm}
      </Figure>
      <Figure name="Memory they hold" note={`of ${memoryOf(pool.memory_budget_bytes)} before idle ones rest`}>
        {memoryOf(pool.resident_bytes)}
      </Figure>
      <Figure name="Opened sessions that were ready" note={waitsOf(spares)} className="col-span-2 sm:col-span-1">
        {spares.hit_rate === null ? "none opened yet" : `${partOf(spares.hit_rate)} of ${spares.openings}`}
      </Figure>
    </dl>
  );
}

function waitsOf({ hit_seconds: hit, miss_seconds: miss }: SpareTotals): string {
  if (hit !== null) return `opened in ${waitOf(hit)}${miss === null ? "" : `, others in ${waitOf(miss)}`}`;
  return miss === null ? "" : `opened in ${waitOf(miss)}`;
}

interface FigureProps {
  name: string;
  note: string;
  className?: string;
  children: ReactNode;
}

function Figure({ name, note, className = "", children }: FigureProps) {
  return (
    <div className={`min-w-0 ${className}`}>
      <dt className="text-2xs text-soft">{name}</dt>
      <dd className="font-semibold tabular-nums">{children}</dd>
      <dd className="text-2xs text-faint tabular-nums">{note}</dd>
    </div>
  );
}

/** One provider's agents; nothing where none was ever asked for. */
export function Warmth({ pool }: { pool: PoolShare }) {
  if (pool.warm === 0 && pool.turns === 0) return null;
  const waits = [
    pool.warm_wait_seconds !== null && `${waitOf(pool.warm_wait_seconds)} warm`,
    pool.cold_wait_seconds !== null && `${waitOf(pool.cold_wait_seconds)} cold`,
  ].filter(Boolean);
  return (
    <dl aria-label="Kept warm" className="flex flex-wrap gap-x-4 gap-y-1 text-xs text-soft tabular-nums">
      <Fact name="Warm">{pool.leased > 0 ? `${pool.warm}, ${pool.leased} at work` : pool.warm}</Fact>
      {pool.hit_rate !== null && (
        <Fact name="Found warm">
          {partOf(pool.hit_rate)} of {countOf(pool.turns, "turn")}
        </Fact>
      )}
      {waits.length > 0 && <Fact name="Wait for it">{waits.join(", ")}</Fact>}
      {pool.warm > 0 && pool.resident_bytes !== null && <Fact name="Memory">{memoryOf(pool.resident_bytes)}</Fact>}
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="flex gap-1.5">
      <dt className="text-faint">{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
