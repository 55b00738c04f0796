"""Medians, within-run ratios, the table for people and the lines for machines."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

__all__ = ["OURS", "Measurement", "Summary", "summarise", "table"]

OURS: Final = "asyncsched"
"""The system that the others are compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One figure of one system in one round."""

    question: str
    store: str
    case: str
    metric: str
    more_is_better: bool
    system: str
    turn: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One figure of one system over all rounds.

    Attributes:
        median: over the rounds.
        least: the smallest of them.
        most: the largest of them.
        better: how many times better ours is: the median of the ratios within each round, turned so
            that above 1 is in our favour; ``None`` where there is nothing to compare.
    """

    question: str
    store: str
    case: str
    metric: str
    system: str
    median: float
    least: float
    most: float
    better: float | None

    def as_line(self) -> dict[str, object]:
        """Return it for a JSON line."""
        return {"kind": "summary", **asdict(self)}


_Key = tuple[str, str, str, str]


def _better(ours: float, theirs: float, *, more_is_better: bool) -> float | None:
    above, below = (ours, theirs) if more_is_better else (theirs, ours)
    return above / below if below > 0 else None


def _ratio(key: _Key, system: str, measured: Sequence[Measurement]) -> float | None:
    if system == OURS:
        return None
    ours = {m.turn: m for m in measured if _key(m) == key and m.system == OURS}
    ratios = [
        _better(ours[m.turn].value, m.value, more_is_better=m.more_is_better)
        for m in measured
        if _key(m) == key and m.system == system and m.turn in ours
    ]
    known = [ratio for ratio in ratios if ratio is not None]
    return median(known) if known else None


def _key(measurement: Measurement) -> _Key:
    return measurement.question, measurement.store, measurement.case, measurement.metric


def summarise(measured: Sequence[Measurement]) -> list[Summary]:
    """Return one summary for each figure and system, in the order in which they were first measured."""
    grouped: dict[tuple[_Key, str], list[float]] = {}
    for measurement in measured:
        grouped.setdefault((_key(measurement), measurement.system), []).append(measurement.value)
    return [
        Summary(
            question=key[0],
            store=key[1],
            case=key[2],
            metric=key[3],
            system=system,
            median=median(values),
            least=min(values),
            most=max(values),
            better=_ratio(key, system, measured),
        )
        for (key, system), values in grouped.items()
    ]


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _cell(summary: Summary | None) -> str:
    if summary is None:
        return "-"
    ratio = "" if summary.better is None else f" ({_number(summary.better)}x)"
    return _number(summary.median) + ratio


def table(summaries: Sequence[Summary], systems: Iterable[str]) -> str:
    """Return a table with a row for each figure and a column for each system, as Markdown.

    In brackets behind another's figure: how many times better ours is.
    """
    names = list(systems)
    rows: dict[_Key, dict[str, Summary]] = {}
    for summary in summaries:
        key = (summary.question, summary.store, summary.case, summary.metric)
        rows.setdefault(key, {})[summary.system] = summary
    lines = [["question", "store", "case", "figure", *names]]
    lines += [[*key, *(_cell(row.get(name)) for name in names)] for key, row in rows.items()]
    return _aligned(lines)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (lines[0], rule, *lines[1:])
    )
