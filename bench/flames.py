"""A flame graph as a still picture: `python -m bench.flames TITLE < stacks > picture.svg`.

The stacks are lines of `frame;frame;… count`, as `py-spy record --format raw` writes them. Drawn is what the event loop
ran: other threads are left out, and so is what stands below the loop in every stack.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

WIDTH, ROW, MARGIN = 1200, 17, 26
THINNEST = 0.004
"""A frame with a smaller share of the whole is not drawn."""
LETTER = 6.7
LOOP = "BaseEventLoop._run_once"
HOUSE, LIBRARY, LOOPS = "#f6ad55", "#cbd5e0", "#90cdf4"

_FRAME = re.compile(r"(?P<name>.+) \((?P<file>[^()]+?)(?::\d+)?\)")


@dataclass
class Flame:
    """A frame with everything it called, by where each call was seen."""

    samples: int = 0
    called: "dict[tuple[str, str], Flame]" = field(default_factory=dict[tuple[str, str], "Flame"])

    @property
    def depth(self) -> int:
        return 1 + max((flame.depth for flame in self.called.values()), default=0)

    def thinned(self, least: float) -> "Flame":
        """Without what has fewer samples than that."""
        kept = {at: flame.thinned(least) for at, flame in self.called.items() if flame.samples >= least}
        return Flame(self.samples, kept)


def grow(lines: Iterable[str]) -> Flame:
    """The flame above the event loop."""
    root = Flame()
    for line in lines:
        stack, _, count = line.rstrip().rpartition(" ")
        frames = [_parsed(frame) for frame in stack.split(";")]
        names = [name for name, _ in frames]
        if LOOP not in names:
            continue
        samples = int(count)
        root.samples += samples
        flame = root
        for frame in frames[names.index(LOOP) + 1 :]:
            flame = flame.called.setdefault(frame, Flame())
            flame.samples += samples
    return root


def draw(title: str, root: Flame) -> str:
    """Each frame as wide as its share, what it called above it."""
    root = root.thinned(root.samples * THINNEST)
    height = MARGIN + (root.depth - 1) * ROW + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace"'
        ' font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="4" y="17" font-family="sans-serif" font-size="13">{escape(title)}</text>',
    ]
    _draw(root, 0.0, height - ROW - 2, WIDTH / max(1, root.samples), parts)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _draw(flame: Flame, left: float, top: float, scale: float, parts: list[str]) -> None:
    for (name, file), called in sorted(flame.called.items(), key=lambda item: -item[1].samples):
        width = called.samples * scale
        share = 100 * called.samples * scale / WIDTH
        colour = HOUSE if file.startswith("coder/") else LOOPS if file.startswith("asyncio/") else LIBRARY
        parts.append(
            f'<g><title>{escape(name)} ({escape(file)}) {share:.1f} %</title><rect x="{left:.1f}" y="{top:.0f}"'
            f' width="{max(0.5, width - 0.5):.1f}" height="{ROW - 1}" rx="1" fill="{colour}"/>'
        )
        if letters := int((width - 4) / LETTER):
            words = name if len(name) <= letters else name[: max(0, letters - 1)] + "…"
            if len(words) > 3:
                parts.append(f'<text x="{left + 2:.1f}" y="{top + 12:.0f}">{escape(words)}</text>')
        parts.append("</g>")
        _draw(called, left, top - ROW, scale, parts)
        left += width


def _parsed(frame: str) -> tuple[str, str]:
    found = _FRAME.fullmatch(frame)
    return (found["name"], found["file"]) if found else (frame, "")


if __name__ == "__main__":
    sys.stdout.write(draw(sys.argv[1], grow(sys.stdin)))
