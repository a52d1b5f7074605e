"""An administrator's desk: the policy as its files have it now, what may be changed of it, and the record of each act.

Every word of administrators works the same way: the files are read anew, a change is made of what was said, the rules
are asked, the act is put into the audit, and the files are written back if they are still those that were read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from bridge.commands import Answer, Asked
from bridge.policy_writer import Author, Changed, PolicyWriter
from bridge.store import Store
from policy.amend import forbidden, on_record
from policy.change import Change, Files, organisation_of
from policy.concern import mistakes_of
from policy.decide import decide
from policy.decision import Objection
from policy.edit import Refusal, edit
from policy.mistake import Mistakes, quoted
from policy.model import Membership, Moment, Policy
from policy.question import Administer, Area

SAVED = "It takes effect within 2 seconds."


def readable(asked: Asked, files: Files, mistakes: Mistakes) -> list[str]:
    """The mistakes of a saved policy, in words where they are of the asker's own organisations."""
    own = [member.organisation for member in asked.memberships if member.admin]
    return mistakes_of(files.text.decode(errors="replace"), files.name, mistakes, own)


@dataclass(frozen=True, slots=True)
class Desk:
    """One administrator's word with the policy as its files have it now."""

    asked: Asked
    files: Files
    policy: Policy
    admins: tuple[Membership, ...]
    """The memberships by which the asker administers."""

    @property
    def organisations(self) -> dict[str, Membership]:
        """The organisations that the asker administers, with the membership that says so."""
        return {member.organisation: member for member in self.admins}


class Act(NamedTuple):
    """What a word wants changed, and the answer when it is."""

    what: str
    """As the audit and git call it."""
    changes: Sequence[Change]
    says: str
    effect: str = SAVED
    """When what was saved shows."""


class Office:
    """Opens desks and does what is decided at them."""

    def __init__(self, *, store: Store, writer: PolicyWriter, clock: Callable[[], Moment] = time.time) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock

    async def read(self) -> tuple[Files, Policy | Mistakes]:
        """The files as they are now, with the policy in them or its mistakes; raises `Answer`."""
        try:
            return await asyncio.to_thread(self._writer.read)
        except OSError as error:
            raise Answer(f"The policy cannot be read just now: {error.strerror}.") from error

    async def desk(self, asked: Asked, what: Area) -> Desk:
        """The policy as it is on disk, for somebody who administers in it."""
        files, policy = await self.read()
        if not isinstance(policy, Policy):
            first = "\n".join(readable(asked, files, policy)[:5])
            raise Answer(
                f"The saved policy has mistakes: repair them first, nothing can be changed until then.\n{first}"
            )
        desk = self.desk_of(asked, files, policy)
        if not desk.admins:
            objections = [
                objection
                for member in policy.accounts.get(asked.user, ())
                for objection in decide(policy, Administer(member.id, member.organisation, what), asked.now).because
            ]
            await self.refuse(asked, objections)
        return desk

    def desk_of(self, asked: Asked, files: Files, policy: Policy) -> Desk:
        """The desk of whoever asks, who may administer nothing."""
        admins = tuple(
            member
            for member in policy.accounts.get(asked.user, ())
            if decide(policy, Administer(member.id, member.organisation, "people"), asked.now).allowed
        )
        return Desk(asked, files, policy, admins)

    async def do(self, desk: Desk, act: Act, what: Area) -> str:
        """Change the files as asked, if rights and rules allow it; the answer to the administrator."""
        after = await self.tried(desk, act, what)
        if after == desk.files:
            return "That is so already: nothing was changed."
        await self._audit(desk, act.what, {"changes": [on_record(desk.policy, change) for change in act.changes]})
        author = Author(desk.organisations[organisation_of(act.changes[0])].name, desk.asked.user)
        try:
            note = await asyncio.to_thread(self._writer.write, desk.files, after, author=author, summary=act.what[:200])
        except (Changed, OSError) as error:
            why = str(error) if isinstance(error, Changed) else f"The policy cannot be written: {error.strerror}."
            await self._audit(desk, f"not done: {act.what}", {"reason": why})
            raise Answer(f"Nothing was done. {why}") from error
        return " ".join(part for part in (act.says, act.effect, note) if part)

    async def tried(self, desk: Desk, act: Act, what: Area) -> Files:
        """The files as they would be, if rights and rules allow it; nothing is written."""
        await self._require_rights(desk, act, what)
        after = await asyncio.to_thread(edit, desk.files, act.changes, desk.policy)
        if isinstance(after, Refusal):
            await self.refuse(desk.asked, after.because)
        return after

    async def _require_rights(self, desk: Desk, act: Act, what: Area) -> None:
        for organisation in dict.fromkeys(map(organisation_of, act.changes)):
            by = desk.organisations.get(organisation)
            if by is None:
                await self.refuse(desk.asked, (not_administered(organisation),))
            decision = decide(desk.policy, Administer(by.id, organisation, what), desk.asked.now)
            if not decision.allowed:
                await self.refuse(desk.asked, decision.because)
            for change in act.changes:
                if organisation_of(change) == organisation and (objection := forbidden(desk.policy, by, change)):
                    await self.refuse(desk.asked, (objection,))

    async def refuse(self, asked: Asked, objections: Iterable[Objection]) -> NoReturn:
        """Say why, and keep it in the audit; always raises `Answer`."""
        because = list(dict.fromkeys(objections))
        text = "\n".join(f"{one.text} ({one.rule})" if one.rule else one.text for one in because)
        text = text or "Only the organisation's administrators can do this (ROLE-1)."
        details = {"command": command(asked), "because": [one.rule for one in because], "text": text}
        await self._store.audit(asked.user, "refused", {**details, **where(asked)}, time=self._clock())
        raise Answer(text)

    async def _audit(self, desk: Desk, what: str, details: Mapping[str, Any]) -> None:
        await self._store.audit(desk.asked.user, what, {**details, **where(desk.asked)}, time=self._clock())


def not_administered(organisation: str) -> Objection:
    """ROLE-1, the same for an organisation of others and for one that is none."""
    return Objection("ROLE-1", f"You do not administer {quoted(organisation)}.")


def where(asked: Asked) -> dict[str, str]:
    """From where somebody did it, as the audit has it."""
    return {"event": asked.event.event_id, "room": asked.event.room_id}


def command(asked: Asked) -> str:
    """The whole command as it was written."""
    body = asked.event.content.get("body")
    return body[:500] if isinstance(body, str) else ""


def only(desk: Desk, usage: str) -> str:
    """The organisation that is meant where none is named."""
    if len(desk.organisations) > 1:
        raise Answer(f"You administer {' and '.join(desk.organisations)}: write which one, {usage}.")
    return next(iter(desk.organisations))
