"""Tables made to fit the page: words broken where columns are narrow, and no more columns than can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.transcript.legible import broken
from bridge.transcript.markup import Block, each_text, plain

MOST_COLUMNS = 8
"""Beside each other, those of tables within tables included; of a wider table each row is a paragraph."""

BETWEEN = " | "


def fitted(found: Sequence[Block], columns: int = 1) -> list[Block]:
    """The blocks, which are legible already and may be changed, as they fit into one of so many columns."""
    return [piece for block in found for piece in _fitted(block, columns)]


def _fitted(block: Block, columns: int) -> Iterator[Block]:
    if block["k"] == "table":
        yield from _table(block, columns * max(map(len, block["rows"])))
        return
    if "e" in block:
        block["e"] = fitted(block["e"], columns)
    if "rows" in block:
        block["rows"] = [[fitted(item, columns) for item in row] for row in block["rows"]]
    yield block


def _table(block: Block, columns: int) -> Iterator[Block]:
    if columns > MOST_COLUMNS:
        yield from ({"k": "p", "r": [BETWEEN.join(map(plain, row))]} for row in block["rows"])
        return
    for row in block["rows"]:
        for cell in row:
            each_text(cell, lambda text: broken(text, columns))
    yield {**block, "rows": [[fitted(cell, columns) for cell in row] for row in block["rows"]]}
