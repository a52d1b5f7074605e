"""People written in the policy file itself, as a sheet like those of a CSV file."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from policy.mistake import Place
from policy.sheet import COLUMNS, Sheet
from policy.yaml_nodes import Node, Reading, Scalar

FIELDS = ("name", *(column for column in COLUMNS if column not in ("identifier", "contact_books")))

STEP = 64
"""People between two steps: about a millisecond."""


@dataclass(slots=True)
class YamlSheet(Sheet):
    """People from a mapping; the place of a cell is that of its value, or of the person's identifier."""

    keys: list[Scalar] = field(default_factory=list)
    values: list[dict[str, Node]] = field(default_factory=list)

    def place(self, index: int, heading: str) -> Place:
        """Line and column in the policy file."""
        node = self.values[index].get(heading, self.keys[index])
        return Place(self.file, node.line + 1, node.column + 1)


def sheet_from_yaml(node: Node, organisation: str, reading: Reading) -> Generator[None, None, YamlSheet]:
    """The people of a mapping `identifier: {name: ..., role: ...}`, in steps."""
    sheet = YamlSheet(reading.file)
    for number, (key, value) in enumerate(reading.pairs(node, f"people of {organisation}").items()):
        if number % STEP == 0:
            yield
        sheet.keys.append(key)
        sheet.values.append(reading.fields(value, f"{organisation}/{key.value}", FIELDS))
    sheet.count = len(sheet.keys)
    sheet.columns = {heading: [_cell(fields, heading, reading) for fields in sheet.values] for heading in FIELDS}
    sheet.columns["identifier"] = [key.value for key in sheet.keys]
    return sheet


def _cell(fields: dict[str, Node], heading: str, reading: Reading) -> str:
    node = fields.get(heading)
    if node is None or isinstance(node, Scalar):
        return node.value if node else ""
    return reading.text(node, heading)
