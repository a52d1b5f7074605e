"""The administrators' word `import`: a spreadsheet sent to the bot is tried first, and imported when that is said."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from bridge import spreadsheet
from bridge.attachments import NoFile
from bridge.commands import Answer, Asked, Commands, Word
from bridge.office import Act, Desk, Office, not_administered, only
from bridge.store import Store
from policy.import_verdicts import Import, counts, report
from policy.imports import plan_import
from policy.mistake import instead, quoted
from policy.model import UserId
from policy.naming import tokens

SHOWN = 50
"""Rows in one answer."""

SKIP = "skip-existing"
MOVED = "The policy or the file has changed since the dry run, so nothing was done. Look again:"
MIME = {"csv": "text/csv", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}


class FileCarrier(Protocol):
    """Whoever brings and takes the files of direct chats."""

    async def fetch(self, content: Mapping[str, Any], most: int) -> bytes: ...

    async def send(
        self, user: UserId, data: bytes, *, name: str, mimetype: str, about: str, organisation: str
    ) -> None: ...


class Trial(NamedTuple):
    """A dry run: of which file, into which organisation, and what tells its result from another."""

    event: str
    organisation: str
    skip_existing: bool
    mark: str = ""


class Importer:
    """Reads spreadsheets that administrators send, and does what they say of them."""

    def __init__(self, *, store: Store, office: Office, carrier: FileCarrier) -> None:
        self._store = store
        self._office = office
        self._carrier = carrier

    def words(self) -> dict[str, Word]:
        """The table of words, for `Commands`."""

        async def run(_commands: Commands, asked: Asked) -> str:
            return await self.answer(asked)

        usage = "import [ORGANISATION] [skip-existing] | import apply | import template [csv|xlsx]"
        does = "as a reply to a spreadsheet you sent me: what its rows would do; then do it"
        return {"import": Word(usage, does, run, admins=True)}

    async def answer(self, asked: Asked) -> str:
        """A spreadsheet of people: what it would do, then `import apply`."""
        words = tokens(asked.rest.lower())
        if words[:1] == ["template"]:
            return await self._template(asked, words[1:])
        desk = await self._office.desk(asked, "people")
        before = await self._tried(asked) if words == ["apply"] else None
        if foreign := [word for word in words if word in desk.policy.organisations and word not in desk.organisations]:
            await self._office.refuse(asked, (not_administered(foreign[0]),))
        trial = Trial(**before) if before else _trial(desk, words)
        if trial.organisation not in desk.organisations:
            await self._office.refuse(asked, (not_administered(trial.organisation),))
        found, kind = await self._planned(desk, trial)
        if before and trial.mark == _mark(found):
            return await self._import(desk, found)
        await self._store.remember(_key(asked.user), trial._replace(mark=_mark(found))._asdict())
        if found.refused:
            await self._send_back(asked, found, kind)
        moved = f"{MOVED}\n" if before else ""
        return moved + "\n".join(report(found, SHOWN)) + _how_to_go_on(found)

    async def _tried(self, asked: Asked) -> Mapping[str, Any] | None:
        """The dry run that is meant: the last one, unless it is said of another file."""
        kept: Mapping[str, Any] | None = await self._store.recall(_key(asked.user))
        if kept is None or asked.reply_to in (None, kept["event"]):
            return kept
        about = await self._store.event(asked.reply_to)
        return kept if about is not None and about.sender != asked.user else None

    async def _send_back(self, asked: Asked, found: Import, kind: spreadsheet.Kind) -> None:
        data, name = spreadsheet.write(found.refused_table(), kind), f"refused.{kind}"
        await self._carrier.send(
            asked.user,
            data,
            name=name,
            mimetype=MIME[kind],
            about=asked.event.event_id,
            organisation=found.organisation,
        )

    async def _planned(self, desk: Desk, trial: Trial) -> tuple[Import, spreadsheet.Kind]:
        event = await self._store.event(trial.event)
        if event is None or event.sender != desk.asked.user:
            raise Answer("Write “import” as a reply to a spreadsheet that you sent me yourself.")
        try:
            data = await self._carrier.fetch(event.content, spreadsheet.LARGEST)
            table = await asyncio.to_thread(spreadsheet.read, data)
        except (NoFile, spreadsheet.Unreadable) as error:
            raise Answer(str(error)) from error
        by = desk.organisations[trial.organisation]
        found = await asyncio.to_thread(
            plan_import, desk.policy, trial.organisation, table, by=by, skip_existing=trial.skip_existing
        )
        return found, spreadsheet.kind_of(data)

    async def _import(self, desk: Desk, found: Import) -> str:
        await self._store.forget(_key(desk.asked.user))
        if not found.does_something:
            return "Nothing was changed: everything in the file is so already, or refused."
        says = f"Imported: {counts(found)}."
        return await self._office.do(desk, Act(f"import into {found.organisation}", found.changes, says), "people")

    async def _template(self, asked: Asked, words: Sequence[str]) -> str:
        if len(words) > 1 or (words and words[0].lower() not in MIME):
            raise Answer(
                "A template is a CSV file or a spreadsheet: write “import template csv” or “import template xlsx”."
            )
        kind: spreadsheet.Kind = "csv" if words and words[0].lower() == "csv" else "xlsx"
        name = f"people.{kind}"
        await self._carrier.send(
            asked.user,
            spreadsheet.template(kind),
            name=name,
            mimetype=MIME[kind],
            about=asked.event.event_id,
            organisation=asked.memberships[0].organisation,
        )
        return f"Fill in {name}, send it back to me, and write “import” as a reply to it."


def _trial(desk: Desk, words: Sequence[str]) -> Trial:
    """What the words behind `import` say, written as a reply to the file."""
    if desk.asked.reply_to is None:
        raise Answer(
            "Send me the spreadsheet, and write “import” as a reply to it. “import template” gives an empty one."
        )
    named = [word for word in words if word not in ("apply", SKIP)]
    organisation = named[0] if named else only(desk, "“import ORGANISATION”")
    if named[1:] or organisation not in desk.organisations:
        other = next((word for word in named if word not in desk.organisations), named[-1] if named else organisation)
        known = instead(other, (*desk.organisations, SKIP))
        raise Answer(f"{quoted(other)} is no organisation that you administer, and nothing else I know here{known}")
    return Trial(desk.asked.reply_to, organisation, SKIP in words)


def _how_to_go_on(found: Import) -> str:
    if not found.does_something:
        return ""
    rest = " The refused rows are in the file I sent you, with their reasons." if found.refused else ""
    return f"\nNothing is done yet: write “import apply” to do it.{rest}"


def _mark(found: Import) -> str:
    """What tells one dry run from another."""
    return hashlib.sha256(repr(found.changes).encode()).hexdigest()[:16]


def _key(user: UserId) -> str:
    return f"import {user}"
