"""Lines of the record become what a page shows: the JSON that the template `page.typ` draws.

Everything a person wrote passes through `Legible` here and is only ever a string in that JSON. Volumes are cut at
a fixed number of entries and letters, so that the same record makes the same volumes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from bridge.transcript import record
from bridge.transcript.columns import fitted
from bridge.transcript.direction import direct, isolated
from bridge.transcript.events import EPOCH
from bridge.transcript.legible import Legible, broken
from bridge.transcript.markup import Block, bare, blocks, each_text, paragraphs, plain, says_more
from bridge.transcript.media import moving_path, thumbnail_path
from bridge.transcript.message import said_otherwise
from bridge.transcript.model import Kind, Milliseconds, Participant, Remark, Transcript
from bridge.transcript.record import Line

Page = dict[str, Any]
"""A volume, a day or an entry as the template reads it."""

ENTRIES = 2000
"""Entries in a volume: some 300 MiB for the process that draws it."""

WEIGHT = 1_000_000
"""What a volume may weigh, where its entries are long: a byte of the record is 1, a line of text is `LINE` more.
Measured to keep the drawing process below 600 MiB whatever the entries hold."""

LINE = 20
THUMBNAIL = 40
"""Bytes of a thumbnail that weigh as much as one of the record: the engine takes ten times the size of a picture."""

QUOTED = 160
"""Letters quoted of the entry that a reply answers."""

SHOWN_PROBLEMS = 200
"""Lines of the completeness list that stand on the cover; the manifest has all."""

COLUMNS = 3
"""Of the list of participants."""

SHOWN_REMARKS = 40
"""Reactions named at one message; the record has all."""

_NO_TEXT = {
    "message": "The content of this message is not on record.",
    "edit": "The content of this edit is not on record.",
    "notice": "The content of this notice is not on record.",
}

_ENCRYPTED = "This message is encrypted and cannot be read."


class Cut(NamedTuple):
    """Where one volume's lines lie in the record."""

    start: int
    length: int
    """Bytes."""


def cuts(path: Path, *, entries: int = ENTRIES, weight: int = WEIGHT) -> Iterator[Cut]:
    """The record cut into volumes of at most so many entries and such a weight; one entry may weigh more alone."""
    start, length, count, weighs = 0, 0, 0, 0
    with path.open("rb") as lines:
        for line in lines:
            heavier = _weight(line, path.parent)
            if count and (count >= entries or weighs + heavier > weight):
                yield Cut(start, length)
                start, length, count, weighs = start + length, 0, 0, 0
            length, count, weighs = length + len(line), count + 1, weighs + heavier
    yield Cut(start, length)


def _weight(line: bytes, folder: Path) -> int:
    weight = len(line) + LINE * line.count(b"\\n")
    if b'"path":"media/' in line:
        paths = [Path(file["path"]).name for file in record.files(record.loads(line)) if file["path"]]
        small = [one for one in (thumbnail_path(folder, name) for name in paths) if one.exists()]
        weight += sum(one.stat().st_size for one in small) // THUMBNAIL
    return weight


class Pages:
    """Makes the pages of one transcript. Volumes are made in order: a reply quotes what an earlier one held."""

    def __init__(self, transcript: Transcript, folder: Path) -> None:
        self._transcript = transcript
        self._folder = folder
        self._zone = ZoneInfo(transcript.account.timezone)
        self._badges = {one.person.matrix: one.person.badge for one in transcript.participants}
        self._namesakes = _namesakes(transcript.participants)
        self._quotes: dict[int, tuple[str, str]] = {}
        self._legible = Legible(lambda _: True)

    def volume(self, lines: Iterable[Line], legible: Legible, *, place: int, of: int) -> Page:
        """One volume, every text in it made legible."""
        self._legible = legible
        return self._whole(map(self.entry, lines), place=place, of=of)

    def _whole(self, entries: Iterable[Page], *, place: int, of: int) -> Page:
        """One volume: its entries under their days, the first volume with the cover in front."""
        account, show = self._transcript.account, self._legible.line
        page: Page = {
            "title": show(self._transcript.title),
            "export": show(account.export_id),
            "handling": show(account.handling),
            "volume": place,
            "volumes": of,
            "days": list(_by_day(entries)),
        }
        if place == 1:
            page["cover"] = self.cover(of)
        return page

    # The cover

    def cover(self, volumes: int) -> Page:
        """What the first page says, and who takes part."""
        shown = self._transcript.problems[:SHOWN_PROBLEMS]
        more = len(self._transcript.problems) - len(shown)
        return {
            "facts": [[label, self._legible.line(value)] for label, value in self._facts(volumes) if value],
            "problems": [self._legible.line(problem) for problem in shown],
            "more": f"{more:,} more are listed in manifest.json." if more else "",
            "participants": [self._participant(one) for one in self._transcript.participants],
        }

    def _facts(self, volumes: int) -> Iterator[tuple[str, str]]:
        transcript, account = self._transcript, self._transcript.account
        yield "Kind of chat", account.kind
        yield "Organisations", ", ".join(account.organisations)
        yield "Room", account.room_id
        yield "Exported by", _named(account.exporter.name, account.exporter.matrix, account.exporter.organisation)
        yield "Purpose", account.purpose
        yield "Asked for on", self._moment(account.made)
        yield "Range", self._range()
        yield "Entries", self._counted()
        yield "From", self._moment(transcript.begins)
        yield "To", self._moment(transcript.ends)
        yield "Times are shown in", account.timezone
        yield "Volumes", str(volumes)
        yield "Export", account.export_id
        yield "Made with", account.software

    def _range(self) -> str:
        wanted = self._transcript.account.range
        if wanted.only_event:
            return f"the single message {wanted.only_event} and what was changed about it"
        parts = [
            f"from {self._moment(wanted.since)}" if wanted.since is not None else "",
            f"until {self._moment(wanted.until)}" if wanted.until is not None else "",
            f"up to and with the event {wanted.last_event}" if wanted.last_event else "",
        ]
        return ", ".join(filter(None, parts)) or "the whole chat"

    def _counted(self) -> str:
        transcript = self._transcript
        if not transcript.entries:
            return "none"
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in transcript.by_kind.items())
        return f"{transcript.entries:,} (numbers {transcript.first:,} to {transcript.last:,}): {kinds}"

    def _participant(self, one: Participant) -> Page:
        show, person = self._in_a_column, one.person
        return {
            "who": show(person.name),
            "also": show(", ".join(name for name in one.names if name != person.name)),
            "b": person.badge,
            "org": show(", ".join(filter(None, [person.role, person.job_title, person.organisation]))),
            "id": show(person.matrix),
            "stays": [self._stay(*stay) for stay in one.stays] or ["did not join"],
        }

    def _in_a_column(self, text: str) -> str:
        return broken(self._legible.line(text), COLUMNS)

    def _stay(self, joined: Milliseconds | None, left: Milliseconds | None) -> str:
        came = self._moment(joined) or "at an unknown time"
        return f"{came} – {self._moment(left)}" if left is not None else f"since {came}"

    # Entries

    def entry(self, line: Line) -> Page:
        """One entry as the page shows it; later entries that quote it find it here."""
        page: Page = {"n": line["number"], "k": line["kind"], **self._when(line["time"])}
        sender = line["sender"]
        page["who"] = self._legible.line(sender["name"])
        page.update(self._written(line) if line["kind"] in WRITTEN else self._told(line))
        if line["number"] in self._transcript.quoted:
            self._quotes[line["number"]] = sender["name"], _excerpt(line, page)
        return page

    def _when(self, time: str | None) -> Page:
        if time is None:
            return {"w": "time unknown", "day": "Time unknown"}
        local = datetime.fromisoformat(time).astimezone(self._zone)
        return {"w": f"{_time_of_day(local)} {_offset(local)}", "day": _day(local.date())}

    def _written(self, line: Line) -> Page:
        """A message or an edit: head, quote, body, file, and what later became of it."""
        sender, page = line["sender"], Page()
        page["org"] = self._legible.line(sender["organisation"])
        if account := self._account_of(sender):
            page["org"] = self._legible.line(", ".join(filter(None, [sender["organisation"], account])))
        page["b"] = self._badges.get(sender["matrix"], "")
        page.update(self._body(line))
        answered = line["reply_to"] or (line.get("target") if line["kind"] == "edit" else None)
        if answered:
            page["q"] = self._quote(answered)
        if line["kind"] == "edit":
            why = f" ({line['reason']})" if line.get("reason") else ""
            page["mark"] = self._legible.line(f"Edit of {_number(answered)}{why}")
        elif thread := line.get("thread"):
            page["mark"] = self._legible.line(f"In the thread of {_number(thread)}")
        shared = [self._file(line["file"])] if line["file"] else []
        if files := [*shared, *({**self._file(one), "within": 1} for one in line.get("pictures", ()))]:
            page["f"] = files
        remarks = self._transcript.remarks.get(line["number"])
        return {**page, "later": self._later(remarks)} if remarks else page

    def _body(self, line: Line) -> Page:
        """What was written, with its formatting; and without it, where that says something else."""
        html, text = line.get("html"), line["text"]
        if text is None and not html:
            encrypted = (line.get("content") or {}).get("type") == "m.room.encrypted"
            return {"body": [{"k": "p", "r": [{"t": _ENCRYPTED if encrypted else _NO_TEXT[line["kind"]], "i": 1}]}]}
        formatted = _formatted(html, answers=bool(line["reply_to"])) if html else []
        formatted = _acted(formatted, text or "", line["sender"]["name"])
        page: Page = {"body": formatted or paragraphs(text or "")}
        if formatted and says_more(text or "", f"{plain(formatted)} {line['sender']['name']}"):
            page["plain"] = paragraphs(text or "")
        if line["kind"] == "edit" and (otherwise := said_otherwise(line.get("content") or {}, plain(page["body"]))):
            page["otherwise"] = paragraphs(otherwise)
        return {part: self._drawn(found) for part, found in page.items()}

    def _account_of(self, person: Line) -> str:
        """The account of somebody whose name is another one's, too: by the name alone nobody could tell whose it is."""
        return person["matrix"] if person["name"] in self._namesakes else ""

    def _drawn(self, found: list[Block]) -> list[Block]:
        each_text(found, self._legible)
        fits = fitted(found)
        direct(fits)
        return fits

    def _quote(self, reference: Line) -> Page:
        who, said = self._quotes.get(reference["number"], ("", ""))
        number = reference["number"] or 0
        absent = "" if who else f"{reference['event_id']}, which this export does not hold"
        return {"n": number, "who": self._legible.line(who), "t": isolated(self._legible.line(said or absent))}

    def _file(self, file: Line) -> Page:
        page: Page = {"name": self._legible.line(file["name"])}
        if file["path"] is None:
            return {**page, "missing": self._legible.line(file.get("missing") or "It is missing.")}
        size = f"{file['size']:,} byte{'' if file['size'] == 1 else 's'}"
        page["facts"] = f"{size}, {self._legible.line(file['mimetype'])}, {file['path']}"
        page["sha256"] = file["sha256"]
        if file.get("changed"):
            page["changed"] = self._legible.line(file["changed"])
        small = thumbnail_path(self._folder, Path(file["path"]).name)
        if small.exists():
            page["image"] = small.name if small.stat().st_size else ""
            if moving_path(small).exists():
                page["moves"] = 1
        return page

    def _later(self, remarks: Iterable[Remark]) -> list[Page]:
        """What was done about an entry afterwards, a line for each kind of thing."""
        by_kind: dict[Kind, list[str]] = {}
        for remark in remarks:
            reaction = f"{self._legible.line(remark.reaction)} " if remark.reaction else ""
            who = isolated(self._legible.line(remark.who))
            undone = any(later.kind == "deletion" for later in self._transcript.remarks.get(remark.number, ()))
            number = f"{remark.number}, taken back" if undone else str(remark.number)
            by_kind.setdefault(remark.kind, []).append(f"{reaction}{who} ({number})")
        return [{"k": kind, "t": f"{LATER[kind]} {_listed(said)}"} for kind, said in by_kind.items()]

    def _told(self, line: Line) -> Page:
        """Everything that is one sentence; the names in it are isolated from what stands around them."""
        tell = TOLD.get(line["kind"])
        people = [line["sender"], *filter(None, [line.get("member")])]
        said = tell(line) if tell else line["text"] or ""
        if accounts := ", ".join(dict.fromkeys(filter(None, map(self._account_of, people)))):
            said += f" ({accounts})"
        said = self._legible.line(said)
        for name in {self._legible.line(person["name"]) for person in people}:
            if name and (kept := isolated(name)) != name:
                said = said.replace(name, kept)
        return {"t": said}

    def _moment(self, time: Milliseconds | None) -> str:
        if time is None:
            return ""
        local = (EPOCH + timedelta(milliseconds=time)).astimezone(self._zone)
        return f"{local:%d} {MONTHS[local.month - 1]} {local:%Y, %H:%M:%S} (UTC{_offset(local)})".lstrip("0")


def _time_of_day(local: datetime) -> str:
    """Hours, minutes and seconds; a third of the time that `strftime` takes."""
    return f"{local.hour:02d}:{local.minute:02d}:{local.second:02d}"


def _offset(local: datetime) -> str:
    return _written_offset(local.utcoffset() or timedelta())


@lru_cache(maxsize=100)
def _written_offset(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _reacted(line: Line) -> str:
    reaction = line.get("reaction") or "(with nothing on record)"
    return f"{line['sender']['name']} reacted {reaction} to {_number(line.get('target'))}."


def _listed(said: list[str]) -> str:
    return ", ".join(said[:SHOWN_REMARKS]) + (" …" if len(said) > SHOWN_REMARKS else "")


def _deleted(line: Line) -> str:
    reason = f" ({line['reason']})" if line.get("reason") else ""
    return f"{line['sender']['name']} deleted {_number(line.get('target'))}{reason}."


def _number(reference: Line | None) -> str:
    if reference is None:
        return "an unnamed entry"
    return str(reference["number"]) if reference["number"] else f"{reference['event_id']}, which is not on record"


def _named(name: str, matrix: str, organisation: str) -> str:
    return f"{name} ({', '.join(filter(None, [matrix, organisation]))})"


@lru_cache(maxsize=100)
def _day(local: date) -> str:
    return f"{DAYS[local.weekday()]}, {local.day} {MONTHS[local.month - 1]} {local.year}"


def _by_day(entries: Iterable[Page]) -> Iterator[Page]:
    """Where the time of an event is out of order its day comes twice, but is marked once."""
    day: Page | None = None
    known: set[str] = set()
    for entry in entries:
        if day is None or day["day"] != entry["day"]:
            if day:
                yield day
            day = {"day": entry["day"], "entries": [], **({"again": 1} if entry["day"] in known else {})}
            known.add(entry["day"])
        day["entries"].append(entry)
    if day:
        yield day


def _formatted(html: str, *, answers: bool) -> list[Block]:
    found = blocks(html, answers=answers)
    return paragraphs(bare(html).strip()) if found is None else found


def _acted(formatted: list[Block], said: str, name: str) -> list[Block]:
    """With whoever does it in front of what they do, as clients show it (Client-Server API, `m.emote`)."""
    actor = f"* {name} "
    if not formatted or not said.startswith(actor) or plain(formatted).lstrip("* ").startswith(name):
        return formatted
    first, *rest = formatted
    if "r" not in first:
        return [*paragraphs(actor.strip()), *formatted]
    return [{**first, "r": [actor, *first["r"]]}, *rest]


def _namesakes(participants: Iterable[Participant]) -> frozenset[str]:
    """Names, borne in the chat by one of them, that are another one's, too, or look the same."""
    borne: dict[str, set[str]] = {}
    names = [(name, one.person.matrix) for one in participants for name in {one.person.name, *one.names}]
    for name, account in names:
        borne.setdefault(_seen_of(name), set()).add(account)
    return frozenset(name for name, _ in names if len(borne[_seen_of(name)]) > 1)


def _seen_of(name: str) -> str:
    """The letters and digits of a name, small and plain: neither spaces nor what cannot be seen tells two apart."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", name).casefold()))


def _excerpt(line: Line, page: Page) -> str:
    said = plain(page["body"]) if line.get("html") and "body" in page else line["text"]
    if not said and line["file"]:
        said = line["file"]["name"]
    if not said:
        said = line.get("reaction") or "(no content on record)"
    return said[:QUOTED] + " …" if len(said) > QUOTED else said


WRITTEN = frozenset({"message", "edit"})

TOLD = {"reaction": _reacted, "deletion": _deleted}

LATER: dict[Kind, str] = {"edit": "Edited later by", "deletion": "Deleted later by", "reaction": "Reactions:"}

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
