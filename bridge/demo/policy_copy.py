"""The policy a demo runs on: a copy of somebody's files, with Matrix IDs for everybody who has none yet.

The copy is edited where the words stand, so comments, order and quoting stay as they were: it is meant to be opened in
an editor while the demo runs. Whoever saves first wins: a file that changed since it was read is left alone.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from policy.mistake import Mistakes, Notebook
from policy.model import Membership, PersonId, Policy, UserId
from policy.parse import parse
from policy.yaml_nodes import Mapping as MappingNode
from policy.yaml_nodes import Node, Scalar, compose, is_empty

POLICY = "policy.yaml"
"""What the policy file is called in the copy."""

SAMPLE = Path(__file__).parent / "sample" / POLICY

SAMPLE_DAY = date(2026, 11, 20)
"""The day for which the sample was written: its cover is in force then."""

_DAY = re.compile(r"(?<![0-9-])[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9-])")

Files = Mapping[str, bytes]
"""A policy and what lies beside it: contents by path, relative to the folder; the policy itself is `policy.yaml`."""


class PolicyError(Exception):
    """The policy cannot be read or holds mistakes; the text has each on a line of its own, with its place."""


class Loaded(NamedTuple):
    """A policy and the files it was read from."""

    policy: Policy
    files: Files


def load(file: Path) -> Loaded:
    """The policy in the file with the spreadsheets and logos it names; raises PolicyError."""
    try:
        text = file.read_bytes()
    except OSError as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise PolicyError(f"{file.absolute()} cannot be read: {why}.") from error
    return _loaded({POLICY: text}, lambda path: (file.parent / path).read_bytes(), file.name)


def for_demo(policy: Path | None) -> Loaded:
    """The administrator's own policy, or else the sample as of today; raises PolicyError."""
    if policy is not None:
        return load(policy)
    return reloaded(moved_to(datetime.now(UTC).date(), load(SAMPLE).files))


def reloaded(files: Files) -> Loaded:
    """The same from files that are in memory."""
    return _loaded(files, files.__getitem__, POLICY)


def _loaded(files: Files, read: Callable[[str], bytes], name: str) -> Loaded:
    beside: dict[str, bytes] = {}

    def noted(path: str) -> bytes:
        beside[path] = read(path)
        return beside[path]

    policy = parse(files[POLICY], noted, name=name)
    if not isinstance(policy, Policy):
        raise PolicyError(_told(policy))
    for logo in filter(None, (organisation.logo for organisation in policy.organisations.values())):
        try:
            noted(logo)
        except (OSError, LookupError):
            continue  # a logo that is missing spoils no decision
    return Loaded(policy, {**beside, POLICY: files[POLICY]})


def _told(mistakes: Mistakes) -> str:
    return "\n".join(map(str, mistakes))


def moved_to(day: date, files: Files) -> Files:
    """The sample's files with every date moved as far as that day is from the one they were written for."""
    return {path: _moved(text, day - SAMPLE_DAY) for path, text in files.items()}


def _moved(text: bytes, by: timedelta) -> bytes:
    return _DAY.sub(lambda found: str(date.fromisoformat(found[0]) + by), text.decode()).encode()


def with_accounts(loaded: Loaded, server_name: str, reserved: frozenset[str]) -> Loaded:
    """The same policy in which everybody active (or suspended, who may come back) has a Matrix ID.

    Whoever has one keeps it. The others get `@identifier:server_name`, or `@organisation.identifier:server_name` where
    two organisations use one identifier or the homeserver could not have that name; nobody gets a `reserved` localpart.
    """
    ids = new_ids(loaded.policy, server_name, reserved)
    return reloaded(_written_in(loaded.files, ids)) if ids else loaded


def new_ids(policy: Policy, server_name: str, reserved: frozenset[str]) -> dict[PersonId, UserId]:
    """The Matrix IDs of those who need one and have none."""
    uses = Counter(member.identifier for member in policy.people.values())
    taken = {str(user) for user in policy.accounts} | {f"@{localpart}:{server_name}" for localpart in reserved}
    ids: dict[PersonId, UserId] = {}
    for member in policy.people.values():
        if member.matrix is None and member.status in ("active", "suspended"):
            names = (f"@{localpart}:{server_name}" for localpart in _localparts(member, uses))
            user = next(name for name in names if name not in taken)
            taken.add(user)
            ids[member.id] = UserId(user)
    return ids


def _localparts(member: Membership, uses: Counter[str]) -> Iterator[str]:
    """What the account may be called, best first. Synapse keeps numbers for guests and refuses a leading underscore."""
    identifier, whole = member.identifier, f"{member.organisation}.{member.identifier}".lstrip("_")
    if uses[identifier] == 1 and not identifier.isdigit() and not identifier.startswith("_"):
        yield identifier
    yield whole
    number = 2
    while True:
        yield f"{whole}-{number}"
        number += 1


def _written_in(files: Files, ids: Mapping[PersonId, UserId]) -> Files:
    """The files with these Matrix IDs where their people stand."""
    text = files[POLICY].decode("utf-8-sig")
    written = dict(files)
    edits: list[tuple[int, int, str]] = []
    for organisation, people in _people_nodes(text):
        if isinstance(people, Scalar):
            path = people.value.strip()
            written[path] = _in_csv(written[path], organisation, ids)
        elif isinstance(people, MappingNode):
            edits += _in_yaml(text, people, organisation, ids)
    written[POLICY] = _edited(text, edits).encode()
    return written


def _people_nodes(text: str) -> Iterator[tuple[str, Node]]:
    steps = compose(text, POLICY, Notebook(POLICY))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            root: Node | None = end.value
            break
    for organisation, settings in _entries(_entries(root).get("organisations")).items():
        people = _entries(settings).get("people")
        if people is not None:
            yield organisation, people


def _entries(node: Node | None) -> dict[str, Node]:
    pairs = node.pairs if isinstance(node, MappingNode) else ()
    return {key.value: value for key, value in pairs if isinstance(key, Scalar)}


def _in_yaml(
    text: str, people: MappingNode, organisation: str, ids: Mapping[PersonId, UserId]
) -> Iterator[tuple[int, int, str]]:
    """For each person where to write, how many characters to replace, and what."""
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    for identifier, person in _entries(people).items():
        user = ids.get(PersonId(f"{organisation}/{identifier}"))
        if user is None or not isinstance(person, MappingNode):
            continue
        given = _entries(person).get("matrix")
        if isinstance(given, Scalar) and is_empty(given):
            at = starts[given.line] + given.column
            yield at, len(given.value), f'"{user}"' if given.value else f' "{user}"'
        else:
            first = person.items[0]
            at = starts[first.line] + first.column
            in_braces = "{" in text[starts[person.line] + person.column : at]
            yield at, 0, f'matrix: "{user}"' + (", " if in_braces else "\n" + " " * first.column)


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for at, length, words in sorted(edits, reverse=True):
        text = text[:at] + words + text[at + length :]
    return text


def _in_csv(data: bytes, organisation: str, ids: Mapping[PersonId, UserId]) -> bytes:
    """The sheet with the Matrix IDs in its column `matrix`, which is added at the end where there is none."""
    text = data.decode("utf-8-sig")
    mark = "\ufeff" if len(text.encode()) < len(data) else ""
    rows = list(_rows(text))
    headings = [heading.strip() for heading in rows[0].cells]
    added = "matrix" not in headings
    column = len(headings) if added else headings.index("matrix")
    for number, row in enumerate(rows):
        if added and any(row.cells):
            row.cells.append("" if number else "matrix")
        user = ids.get(PersonId(f"{organisation}/{row.cell(headings.index('identifier'))}")) if number else None
        if user is not None:
            row.cells[column] = user
    return (mark + "".join(map(str, rows))).encode()


class _Row(NamedTuple):
    """A row of a sheet: its cells, and the text it was read from, which stays where no cell changed."""

    cells: list[str]
    was: tuple[str, ...]
    text: str
    delimiter: str

    def cell(self, column: int) -> str:
        return self.cells[column].strip() if column < len(self.cells) else ""

    def __str__(self) -> str:
        if tuple(self.cells) == self.was:
            return self.text
        out = io.StringIO()
        bare = self.text.rstrip("\r\n")
        csv.writer(out, delimiter=self.delimiter, lineterminator=self.text[len(bare) :]).writerow(self.cells)
        return out.getvalue()


def _rows(text: str) -> Iterator[_Row]:
    """The rows with their own text; a cell in quotation marks may hold line breaks."""
    lines = io.StringIO(text, newline="").readlines()
    delimiter = ";" if lines[0].count(";") > lines[0].count(",") else ","
    reader, start = csv.reader(lines, delimiter=delimiter), 0
    for cells in reader:
        yield _Row(cells, tuple(cells), "".join(lines[start : reader.line_num]), delimiter)
        start = reader.line_num


def write(files: Files, folder: Path) -> Path:
    """Put the files into the folder, the policy last, so that it is never there without its spreadsheets; its path.

    What was there and is another text now stays as `NAME.before`.
    """
    for path in sorted(files, key=lambda path: path == POLICY):
        file = folder / path
        if file.exists() and file.read_bytes() != files[path]:
            file.replace(file.with_name(f"{file.name}.before"))
        replace(file, files[path])
    return folder / POLICY


def rewrite(was: Files, files: Files, folder: Path) -> None:
    """Write what changed, except over a file that somebody saved since it `was` read: it is looked at again then."""
    for path, text in files.items():
        file = folder / path
        if text != was.get(path) and file.read_bytes() == was.get(path):
            replace(file, text)


def replace(file: Path, text: bytes) -> None:
    """Write a file as a whole: whoever reads it meanwhile sees the old text or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_bytes(text)
    fresh.replace(file)
