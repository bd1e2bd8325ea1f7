"""What idle sessions, viewers, and a viewer that stopped reading cost the host in memory."""

import tempfile
from pathlib import Path

from bench.native_programs import Programs
from bench.rows import Row, at_most, median
from bench.stage import AGENT, Stage, open_stage, resident_kib
from bench.watching import host_door, host_prompt, open_viewers

IDLE, VIEWERS = 100, 200
SESSION_TARGET, VIEWER_TARGET, STALLED_TARGET = 1024.0, 32.0, 1.3
SHORT, SHORT_SIZE = 30, 400
EVENTS, SIZE, ROUNDS = 20_000, 2_048, 3


async def measure(programs: Programs, work: Path) -> list[Row]:
    """KiB resident in the host's process; viewers that read must see every event in order."""
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as name:
        async with open_stage(Path(name), programs.agent, environment={"CODER_MAX_SESSIONS": "1000"}) as stage:
            rows = [await _idle(stage), await _viewers(stage, programs)]
    stalled: list[float] = []
    reading: list[float] = []
    for _ in range(ROUNDS):
        reading.append(await _growth(programs, stalled=0))
        stalled.append(await _growth(programs, stalled=1))
    metric = f"host grows while {EVENTS * SIZE / 1e6:.0f} MB are sent, one viewer reading, one stalled"
    reference = ("one viewer reading", median(reading))
    return [*rows, at_most("stalled", metric, "KiB", median(stalled), reference, STALLED_TARGET)]


async def _idle(stage: Stage) -> Row:
    before = resident_kib(stage.host.pid)
    sessions = [await stage.open_session() for _ in range(IDLE)]
    after = resident_kib(stage.host.pid)
    for session in sessions:
        await stage.client.close_session(session.id, force=True)
    each = (after - before) / IDLE
    return Row("memory", "host, per idle session", "KiB", each, target=SESSION_TARGET, met=each <= SESSION_TARGET)


async def _viewers(stage: Stage, programs: Programs) -> Row:
    """All of them have seen a short turn and stay connected."""
    session = await stage.open_session(AGENT)
    wish = f"burst {SHORT} {SHORT_SIZE}"
    async with open_viewers(programs, await host_door(stage, [session]), 2, SHORT) as few:
        await few.send([host_prompt(session, wish)])
        await few.seen()
    await stage.until_idle(session)
    before = resident_kib(stage.host.pid)
    async with open_viewers(programs, await host_door(stage, [session]), VIEWERS, SHORT) as many:
        await many.send([host_prompt(session, wish)])
        await many.seen()
        await stage.until_idle(session)
        each = (resident_kib(stage.host.pid) - before) / VIEWERS
    return Row("memory", "host, per viewer", "KiB", each, target=VIEWER_TARGET, met=each <= VIEWER_TARGET)


async def _growth(programs: Programs, *, stalled: int) -> float:
    """The most a host of its own held, less what it held before."""
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as name:
        async with open_stage(Path(name), programs.agent) as stage:
            session = await stage.open_session(AGENT)
            async with open_viewers(programs, await host_door(stage, [session]), 1, SHORT) as first:
                await first.send([host_prompt(session, f"burst {SHORT} {SIZE}")])
                await first.seen()
            await stage.until_idle(session)
            door = await host_door(stage, [session])
            async with open_viewers(programs, door, 1 + stalled, EVENTS, stalled=stalled) as viewers:
                before = _start_peak(stage.host.pid)
                await viewers.send([host_prompt(session, f"burst {EVENTS} {SIZE}")])
                seen = await viewers.seen()
                grown = _peak_kib(stage.host.pid) - before
            if stalled and not seen.unread_bytes:
                raise SystemExit("memory: the viewer that should not read was sent nothing")
            return grown


def _start_peak(pid: int) -> int:
    """Resident now; from here on the peak is counted anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return resident_kib(pid)


def _peak_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0])
