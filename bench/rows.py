"""What every benchmark answers: rows of one form, each a ratio taken beside its reference in the same run."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One figure. `target` bounds the ratio, or `ours` where there is no reference; `met` is None without a target."""

    name: str
    metric: str
    unit: str
    ours: float
    reference: float | None = None
    reference_name: str | None = None
    ratio: float | None = None
    target: float | None = None
    met: bool | None = None


def at_most(
    name: str, metric: str, unit: str, ours: float, reference: tuple[str, float], target: float | None = None
) -> Row:
    """A figure that should be small beside its reference."""
    ratio = ours / reference[1]
    met = None if target is None else ratio <= target
    return Row(name, metric, unit, ours, reference[1], reference[0], ratio, target, met)


def at_least(
    name: str, metric: str, unit: str, ours: float, reference: tuple[str, float], target: float | None = None
) -> Row:
    """A figure that should be large beside its reference."""
    ratio = ours / reference[1]
    met = None if target is None else ratio >= target
    return Row(name, metric, unit, ours, reference[1], reference[0], ratio, target, met)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def as_json(rows: Sequence[Row]) -> str:
    """One JSON object a line, figures with four digits."""
    return "\n".join(
        json.dumps(
            {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in asdict(row).items()}
        )
        for row in rows
    )


def as_table(rows: Sequence[Row]) -> str:
    """The rows for a person, as a Markdown table."""
    lines = ["| bench | metric | ours | reference | ratio | target | met |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        reference = f"{row.reference:.4g} {row.unit} ({row.reference_name})" if row.reference is not None else "–"
        ratio = f"{row.ratio:.3g}" if row.ratio is not None else "–"
        target = f"{row.target:g}" if row.target is not None else "–"
        met = {True: "yes", False: "no", None: "–"}[row.met]
        lines.append(
            f"| {row.name} | {row.metric} | {row.ours:.4g} {row.unit} | {reference} | {ratio} | {target} | {met} |"
        )
    return "\n".join(lines)
