"""All benchmarks by name, and their rows as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from bridge.bench import decisions, editing, exporting, loading, planning, recording, searching, sending
from bridge.bench.measure import Row
from bridge.bench.size import FULL, Say, Size

BENCHMARKS: Mapping[str, Callable[[Size, Say], Iterator[Row]]] = {
    decisions.NAME: decisions.measure,
    loading.NAME: loading.measure,
    searching.NAME: searching.measure,
    editing.EDITING: editing.measure_editing,
    planning.NAME: planning.measure,
    editing.IMPORTING: editing.measure_importing,
    recording.NAME: recording.measure,
    exporting.NAME: exporting.measure,
    sending.NAME: sending.measure,
}

HEADINGS = ("what", "median", "spread", "bound", "")


def rows(names: Iterable[str], say: Say, size: Size = FULL) -> Iterator[Row]:
    """Every row of these benchmarks, as soon as it is measured."""
    for name in names:
        yield from BENCHMARKS[name](size, say)


def table(measured: Sequence[Row]) -> str:
    """The rows for people, a line each, with what the ratio is made of below it."""
    lines = [HEADINGS, *(_cells(row) for row in measured)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    details = ["", *(row.detail for row in measured)]
    return "\n".join(f"{line}\n    {detail}" if detail else line for line, detail in zip(shown, details, strict=True))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.what,
        f"{_figure(row.median)}{row.unit}",
        f"{_figure(min(row.samples))} to {_figure(max(row.samples))}",
        f"{row.bound} {row.limit:g}{row.unit}",
        "ok" if row.good else "over" if row.bound == "at most" else "under",
    )


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"
