"""The drawing of a profile: every frame as wide as its share."""

import re

from bench.flames import THINNEST, WIDTH, draw, grow

BELOW = "main (coder/cli.py:1);BaseEventLoop._run_once (asyncio/base_events.py:1922);"


def test_a_frame_is_as_wide_as_its_share_of_what_the_loop_ran() -> None:
    stacks = [
        f"{BELOW}Peer.run (coder/peer.py:1);read_line (coder/json_values.py:9) 60",
        f"{BELOW}Peer.run (coder/peer.py:2) 15",
        f"{BELOW}EpollSelector.select (selectors.py:3) 25",
        "Thread.run (threading.py:1);work (coder/other.py:1) 1000",
    ]
    flame = grow(stacks)
    assert (flame.samples, flame.depth) == (100, 3)
    picture = draw("a <title>", flame)
    widths = dict(re.findall(r'<title>(\S+) .*? %</title><rect [^>]*?width="([\d.]+)"', picture))
    assert {name: round((float(width) + 0.5) / WIDTH, 2) for name, width in widths.items()} == {
        "Peer.run": 0.75,
        "read_line": 0.6,
        "EpollSelector.select": 0.25,
    }
    assert "a &lt;title&gt;" in picture


def test_what_is_too_thin_to_see_is_left_out() -> None:
    stacks = [f"{BELOW}wide (coder/a.py:1) {round(1 / THINNEST) + 1}", f"{BELOW}thin (coder/b.py:1) 1"]
    picture = draw("", grow(stacks))
    assert "wide" in picture
    assert "thin" not in picture
