"""Messages of an organisation to many of its people, each in their direct chat with the bot (BUT-3).

A broadcast is a job on record: a kill in the middle delays it and tells nobody twice. Whoever had it sent sees how far
it is in one message that changes, and at the end who was not reached.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from mautrix.api import Method

from bridge.arrival.welcome import with_names
from bridge.direct import Direct
from bridge.homeserver import Homeserver, Refused, room_path
from bridge.perform import Performer
from bridge.policy_file import PolicySource
from bridge.store import Job, Store
from policy.model import Membership, Moment, PersonId, Policy, UserId
from policy.observation import RoomName
from policy.reach import status

KIND = "broadcast"
PROGRESS = "broadcast-progress:"
PROGRESS_MESSAGE = "broadcast-message:"
EACH_TURN = 10
"""So many are told before others have a turn."""

LONGEST_LIST = 100
"""Names of people not reached that are shown."""


log = logging.getLogger("qwil.arrival")


class Broadcasts:
    """Sends them."""

    def __init__(
        self,
        *,
        source: PolicySource,
        store: Store,
        direct: Direct,
        performer: Performer,
        homeserver: Homeserver,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._store = store
        self._direct = direct
        self._performer = performer
        self._homeserver = homeserver
        self._clock = clock

    async def begin(self, name: str, *, by: UserId, organisation: str, people: list[PersonId], text: str) -> bool:
        """Have it sent to these people; False where one of this name was begun before."""
        order = {"by": by, "organisation": organisation, "people": people, "text": text}
        return await self._store.add_job(KIND, name, order, due=self._clock())

    async def work(self) -> bool:
        """Tell some more of those who wait; whether there are more still."""
        for job in await self._store.due_jobs(self._clock(), limit=1000):
            if job.kind == KIND:
                await self._some_more(job)
                return True
        return False

    async def _some_more(self, job: Job) -> None:
        progress = await self._store.recall(_progress(job), {"next": 0, "missed": []})
        people, done, missed = job.payload["people"], progress["next"], progress["missed"]
        for person in people[done : done + EACH_TURN]:
            if trouble := await self._tell(job, self._source.policy.people.get(person)):
                missed.append([person, trouble])
        done = min(done + EACH_TURN, len(people))
        await self._store.remember(_progress(job), {"next": done, "missed": missed})
        await self._show(job, done, missed)
        if done == len(people):
            await self._store.finish_job(job, done=self._clock())
            await self._store.forget(_progress(job))
            await self._store.forget(f"{PROGRESS_MESSAGE}{job.key}")

    async def _tell(self, job: Job, member: Membership | None) -> str:
        """Why somebody was not reached, else empty."""
        if member is None or status(member, self._clock()) != "active":
            return "is not an active member any more"
        if member.matrix is None:
            return "has no account yet"
        organisation = self._source.policy.organisations[member.organisation]
        text = f"{with_names(job.payload['text'], organisation, member)}\n— {organisation.name}"
        try:
            await self._performer.say_in(
                await self._direct.room(member.matrix), text, about=f"broadcast {job.key} {member.id}"
            )
        except Refused as refusal:
            return str(refusal)
        return ""

    async def _show(self, job: Job, done: int, missed: list[list[str]]) -> None:
        """The first message that says how far it is, changed from then on (m.replace)."""
        by, total = UserId(job.payload["by"]), len(job.payload["people"])
        lines = [f"Broadcast: {done} of {total} done, {done - len(missed)} reached."]
        if done == total:
            lines += [f"- not reached: {self._name(person)}: {why}" for person, why in missed[:LONGEST_LIST]]
            if len(missed) > LONGEST_LIST:
                lines.append(f"… and {len(missed) - LONGEST_LIST} more.")
        try:
            await self._report(job, await self._direct.room(by), "\n".join(lines), str(done))
        except Refused as refusal:
            log.info("%s could not be told how far a broadcast is: %s", by, refusal)

    async def _report(self, job: Job, room: RoomName, text: str, step: str) -> None:
        content: dict[str, Any] = {"msgtype": "m.notice", "body": text}
        key = f"{PROGRESS_MESSAGE}{job.key}"
        first = await self._store.recall(key)
        if first is not None:
            replaces = {"rel_type": "m.replace", "event_id": first}
            content = {**content, "body": f"* {text}", "m.new_content": content, "m.relates_to": replaces}
        transaction = hashlib.sha256(f"{room} {job.key} {step}".encode()).hexdigest()[:40]
        path = room_path(room).send["m.room.message"][transaction]
        sent = await self._homeserver.ask(Method.PUT, path, content)
        if first is None:
            await self._store.remember(key, sent["event_id"])

    def _name(self, person: str) -> str:
        member = self._source.policy.people.get(PersonId(person))
        return member.name if member is not None else person


def audience(policy: Policy, organisation: str, whom: str, now: Moment) -> list[PersonId] | None:
    """Everybody active whom a word names: `staff`, `clients`, `everybody` or a book; none where it names nothing."""
    chosen: Mapping[str, Callable[[Membership], bool]] = {
        "staff": lambda member: member.role == "staff",
        "clients": lambda member: member.role == "client",
        "everybody": lambda _: True,
    }
    takes = chosen.get(whom)
    if takes is None and whom not in policy.organisations[organisation].books:
        return None

    def in_book(member: Membership) -> bool:
        return whom in member.books

    return [
        member.id
        for member in policy.people.values()
        if member.organisation == organisation and status(member, now) == "active" and (takes or in_book)(member)
    ]


def _progress(job: Job) -> str:
    return f"{PROGRESS}{job.key}"
