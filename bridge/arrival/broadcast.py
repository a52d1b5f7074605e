"""Messages of an organisation to many of its people, each in their direct chat with the bot (BUT-3).

A broadcast is a job on record: a kill in the middle delays it, tells nobody twice and forgets nobody. Whoever had it
sent sees how far it is in one message that changes, and at the end who was not reached.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mautrix.api import Method

from bridge.arrival.marks import said
from bridge.arrival.welcome import with_names
from bridge.direct import Direct
from bridge.homeserver import Homeserver, Refused, room_path
from bridge.ledger import Job
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import Membership, Moment, PersonId, UserId
from policy.observation import RoomName
from policy.reach import status
from policy.rooms import GIVEN_FOR

KIND = "broadcast"
PROGRESS = "broadcast-progress:"
PROGRESS_MESSAGE = "broadcast-message:"
MARK = "org.qwil.broadcast"
"""In each message: which part of which broadcast it is, for whom."""

EACH_TURN = 10
"""So many are told before others have a turn."""

LONGEST_LIST = 100
"""Names of people not reached in one message."""

AGAIN = 60.0
"""Seconds until a broadcast that could not go on is tried again."""

log = logging.getLogger("qwil.arrival")


class Broadcasts:
    """Sends them."""

    def __init__(
        self,
        *,
        source: PolicySource,
        store: Store,
        direct: Direct,
        homeserver: Homeserver,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._store = store
        self._direct = direct
        self._homeserver = homeserver
        self._clock = clock
        self._sure: set[str] = set()
        """Broadcasts of whose next turn nothing was sent yet; of one that a kill cut off that is not known."""

    async def begin(
        self,
        name: str,
        *,
        by: UserId,
        organisation: str,
        people: list[PersonId],
        text: str,
        file: Mapping[str, Any] | None = None,
    ) -> bool:
        """Have it sent to these people; False where one of this name was begun before."""
        order = {"by": by, "organisation": organisation, "people": people, "text": text, "file": file}
        begun = await self._store.add_job(KIND, name, order, due=self._clock())
        if begun:
            self._sure.add(name)
        return begun

    async def work(self) -> bool:
        """Tell some more of those who wait; whether there are more still."""
        if not self._source.policy.organisations:
            # No policy is in force, as after a start on a broken file: that nobody is in it says nothing.
            return False
        for job in await self._store.due_jobs(self._clock(), limit=1000):
            if job.kind == KIND:
                await self._turn(job)
                return True
        return False

    async def _turn(self, job: Job) -> None:
        try:
            await self._some_more(job)
        except Exception as error:
            # It must keep neither other broadcasts nor the mails from going out.
            log.exception("A broadcast could not go on; it is tried again in %d s", AGAIN)
            await self._store.postpone_job(job, due=self._clock() + AGAIN, error=type(error).__name__)

    async def _some_more(self, job: Job) -> None:
        progress = await self._store.recall(_progress(job), {"next": 0, "missed": []})
        people, done, missed = job.payload["people"], progress["next"], progress["missed"]
        sure = job.key in self._sure
        self._sure.discard(job.key)
        for person in people[done : done + EACH_TURN]:
            if trouble := await self._tell(job, self._source.policy.people.get(person), sure=sure):
                missed.append([person, trouble])
        done = min(done + EACH_TURN, len(people))
        await self._store.remember(_progress(job), {"next": done, "missed": missed})
        self._sure.add(job.key)
        await self._show(job, done, missed)
        if done == len(people):
            await self._store.finish_job(job, done=self._clock())
            await self._store.forget(_progress(job))
            await self._store.forget(f"{PROGRESS_MESSAGE}{job.key}")
            self._sure.discard(job.key)

    async def _tell(self, job: Job, member: Membership | None, *, sure: bool) -> str:
        """Why somebody was not reached, else empty."""
        if member is None or status(member, self._clock()) != "active":
            return "is not an active member now"
        if member.matrix is None:
            return "has no account yet"
        try:
            room = await self._direct.room(member.matrix)
            known = set() if sure else await said(self._homeserver, room, MARK)
            for mark, content in self._parts(job, member):
                if mark not in known:
                    await self._send(room, {**content, MARK: mark}, about=mark)
        except Refused as refusal:
            return str(refusal)
        return ""

    def _parts(self, job: Job, member: Membership) -> Iterator[tuple[str, dict[str, Any]]]:
        """What is said to one person, message by message, each with its mark."""
        organisation = self._source.policy.organisations[member.organisation]
        if text := job.payload["text"]:
            filled = f"{with_names(text, organisation, member)}\n— {organisation.name}"
            yield f"{job.key} {member.id} text", {"msgtype": "m.text", "body": filled}
        if file := job.payload.get("file"):
            yield f"{job.key} {member.id} file", {**file, GIVEN_FOR: member.organisation}

    async def _show(self, job: Job, done: int, missed: list[list[str]]) -> None:
        """The first message that says how far it is, changed from then on (m.replace)."""
        by, total = UserId(job.payload["by"]), len(job.payload["people"])
        lines = [f"Broadcast: {done} of {total} done, {done - len(missed)} reached."]
        named = [f"- not reached: {self._name(person)}: {why}" for person, why in missed] if done == total else []
        try:
            room = await self._direct.room(by)
            await self._report(job, room, "\n".join([*lines, *named[:LONGEST_LIST]]), str(done))
            for start in range(LONGEST_LIST, len(named), LONGEST_LIST):
                more = {"msgtype": "m.notice", "body": "\n".join(named[start : start + LONGEST_LIST])}
                await self._send(room, more, about=f"{job.key} missed {start}")
        except Refused as refusal:
            log.info("%s could not be told how far a broadcast is: %s", by, refusal)

    async def _report(self, job: Job, room: RoomName, text: str, step: str) -> None:
        content: dict[str, Any] = {"msgtype": "m.notice", "body": text}
        key = f"{PROGRESS_MESSAGE}{job.key}"
        first = await self._store.recall(key)
        if first is not None:
            replaces = {"rel_type": "m.replace", "event_id": first}
            content = {**content, "body": f"* {text}", "m.new_content": content, "m.relates_to": replaces}
        sent = await self._send(room, content, about=f"{job.key} {step}")
        if first is None:
            await self._store.remember(key, sent)

    async def _send(self, room: RoomName, content: Mapping[str, Any], *, about: str) -> str:
        """Post a message, once for each occasion within half an hour; its event id."""
        transaction = hashlib.sha256(f"{room} {about}".encode()).hexdigest()[:40]
        path = room_path(room).send["m.room.message"][transaction]
        sent = await self._homeserver.ask(Method.PUT, path, content)
        return str(sent["event_id"])

    def _name(self, person: str) -> str:
        member = self._source.policy.people.get(PersonId(person))
        return member.name if member is not None else person


def _progress(job: Job) -> str:
    return f"{PROGRESS}{job.key}"
