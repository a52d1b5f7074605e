"""A chat written down as the list of events that a homeserver would send, for the tests of its transcript."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from bridge.transcript.media import MediaMissing
from bridge.transcript.model import Account, Person, Range

START = 1_795_510_800_000
"""Tuesday, 24 November 2026, 09:00 UTC."""

ANN = "@ann:hillside.example"
BEN = "@ben:hillside.example"
PAT = "@pat:hillside.example"
BOT = "@qwil:hillside.example"

PEOPLE = {
    ANN: Person(ANN, "Ann Lee", "staff", "Hillside Primary", "S", "Head of Year 1"),
    BEN: Person(BEN, "Ben Ode", "staff", "Riverside Academy", "E", "Head of Music"),
    PAT: Person(PAT, "Pat Chan", "client", "Hillside Primary", "C", "Mia Chan, Year 1"),
    BOT: Person(BOT, "Qwil", "bot", "Hillside Primary"),
}


def account(**changed: Any) -> Account:
    """An export that Ann asked for."""
    given: dict[str, Any] = {
        "export_id": "x-2026-11-24-1",
        "exporter": PEOPLE[ANN],
        "made": START + 86_400_000,
        "room_id": "!trip:hillside.example",
        "kind": "client",
        "organisations": ("Hillside Primary", "Riverside Academy"),
        "purpose": "Request of the parents",
        "timezone": "Europe/London",
        "software": "qwil 0.1.0",
    }
    return Account(**{**given, **changed})


def up_to(event_id: str) -> Range:
    return Range(last_event=event_id)


class Room:
    """Grows by an event a minute; every method gives the id of the event that it adds."""

    def __init__(self, *, minutes: float = 1) -> None:
        self.events: list[dict[str, Any] | str] = []
        self.uploads: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self._step = int(minutes * 60_000)

    def event(self, kind: str, sender: str, content: Mapping[str, Any], **more: Any) -> str:
        place = len(self.events)
        event_id = f"$event{place:05d}"
        whole = {
            "event_id": event_id,
            "room_id": "!trip:hillside.example",
            "type": kind,
            "sender": sender,
            "origin_server_ts": START + place * self._step,
            "content": dict(content),
            **more,
        }
        self.events.append(whole)
        return event_id

    def joins(self, user: str, name: str | None = None, *, by: str | None = None) -> str:
        shown = name or (PEOPLE[user].name if user in PEOPLE else user)
        return self.event("m.room.member", by or user, {"membership": "join", "displayname": shown}, state_key=user)

    def member(self, user: str, membership: str, *, by: str | None = None, **more: Any) -> str:
        return self.event("m.room.member", by or user, {"membership": membership, **more}, state_key=user)

    def named(self, title: str, *, by: str = ANN) -> str:
        return self.event("m.room.name", by, {"name": title}, state_key="")

    def says(self, user: str, body: str, *, html: str | None = None, relates: Any = None, **more: Any) -> str:
        content: dict[str, Any] = {"msgtype": "m.text", "body": body, **more}
        if html is not None:
            content |= {"format": "org.matrix.custom.html", "formatted_body": html}
        if relates is not None:
            content["m.relates_to"] = relates
        return self.event("m.room.message", user, content)

    def replies(self, user: str, to: str, body: str, **more: Any) -> str:
        return self.says(user, body, relates={"m.in_reply_to": {"event_id": to}}, **more)

    def edits(self, user: str, event_id: str, body: str) -> str:
        relation = {"rel_type": "m.replace", "event_id": event_id}
        new = {"msgtype": "m.text", "body": body}
        return self.says(user, f"* {body}", relates=relation, **{"m.new_content": new})

    def deletes(self, user: str, event_id: str, reason: str | None = None) -> str:
        content = {"redacts": event_id} | ({"reason": reason} if reason else {})
        return self.event("m.room.redaction", user, content)

    def reacts(self, user: str, event_id: str, key: str) -> str:
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return self.event("m.reaction", user, {"m.relates_to": relation})

    def shares(self, user: str, name: str, content: bytes | None, mimetype: str, **more: Any) -> str:
        """A file; without content the homeserver has lost it."""
        mxc = f"mxc://hillside.example/file{len(self.events)}"
        if content is not None:
            self.uploads[mxc] = content
        kind = "m.image" if mimetype.startswith("image/") else "m.file"
        told = {"msgtype": kind, "body": name, "url": mxc, "info": {"mimetype": mimetype}, **more}
        return self.event("m.room.message", user, told)

    def fetch(self, mxc: str) -> Iterator[bytes]:
        """What the homeserver answers to a download."""
        self.fetched.append(mxc)
        if mxc not in self.uploads:
            raise MediaMissing("The homeserver no longer has it (404 M_NOT_FOUND).")
        content = self.uploads[mxc]
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]


def picture(colour: str = "teal", *, size: tuple[int, int] = (320, 240), form: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, form)
    return out.getvalue()


def school_trip() -> Room:
    """A chat with something of everything, in ten scripts."""
    room = Room(minutes=7)
    room.event("m.room.create", ANN, {"room_version": "11"}, state_key="")
    room.joins(ANN)
    room.event("org.qwil.chat", BOT, {"organisation": "hillside", "kind": "staff"}, state_key="")
    room.named("Trip to the museum – Year 1")
    room.member(PAT, "invite", by=ANN, displayname="Pat Chan")
    room.joins(PAT)
    room.event("org.qwil.chat", BOT, {"organisation": "hillside", "kind": "client"}, state_key="")
    form = room.says(
        ANN, "Please bring the signed form on Thursday.", html="Please bring the <b>signed</b> form on <i>Thursday</i>."
    )
    room.replies(PAT, form, "> <@ann:hillside.example> Please bring the signed form\n\nWill do, thank you!")
    room.reacts(PAT, form, "👍")
    wrong = room.says(PAT, "Mia is ill today, she has a temprature of 38.5.")
    room.edits(PAT, wrong, "Mia is ill today, she has a temperature of 38.5.")
    private = room.says(PAT, "My telephone number is 07700 900010.")
    room.deletes(PAT, private, "not meant for everybody")
    room.shares(ANN, "museum plan.bmp", picture(form="BMP"), "image/bmp")
    room.shares(PAT, "../../etc/passwd", b"form" * 1000, "application/pdf")
    room.shares(PAT, "lost.pdf", None, "application/pdf")
    room.joins("@mohammed:hillside.example", "محمد علي")
    for body in SCRIPTS.values():
        room.says("@mohammed:hillside.example", body)
    room.says(
        ANN,
        "list",
        html="<h3>To bring</h3><ul><li>Lunch<ul><li>no nuts</li></ul></li><li>A <del>large</del> small bag</li></ul>"
        "<blockquote>We leave at <code>8:30</code></blockquote><pre><code>if late:\n    call()</code></pre>"
        "<table><tr><th>Group</th><th>Adult</th></tr><tr><td>Red</td><td>Ann</td></tr></table>"
        '<p>See <a href="https://museum.example/plan">the plan</a>, <a href="https://museum.example">https://museum.example</a>.</p>',
    )
    start = room.event(
        "m.poll.start",
        ANN,
        {
            "m.text": [{"body": "Which day?"}],
            "m.poll": {
                "question": {"m.text": [{"body": "Which day suits you?"}]},
                "answers": [
                    {"m.id": "a", "m.text": [{"body": "Thursday"}]},
                    {"m.id": "b", "m.text": [{"body": "Friday"}]},
                ],
            },
        },
    )
    room.event(
        "m.poll.response", PAT, {"m.relates_to": {"rel_type": "m.reference", "event_id": start}, "m.selections": ["b"]}
    )
    room.event(
        "m.room.message", ANN, {"msgtype": "m.location", "body": "The museum", "geo_uri": "geo:51.4967,-0.1764;u=35"}
    )
    room.says(PAT, "A word of 300 letters: " + "x" * 300)
    room.says(PAT, "An override: invoice\u202efdp.exe and a private letter \ue000 and a null \x00.")
    room.member(PAT, "leave")
    room.named("Trip to the museum")
    return room


SCRIPTS = {
    "English": "Please bring the signed form on Thursday, we need it for the trip.",
    "Vietnamese": "Xin chào, buổi họp phụ huynh bắt đầu lúc bảy giờ tối.",
    "Russian": "Встреча переносится на четверг, спасибо за понимание.",
    "Greek": "Η συνάντηση είναι την Πέμπτη στις οκτώ.",
    "Arabic": "يرجى إحضار النموذج الموقع يوم الخميس (الساعة 8:30).",
    "Hebrew": "נא להביא את הטופס החתום ביום חמישי בשעה 8:30.",
    "Hindi": "कृपया गुरुवार को हस्ताक्षरित फॉर्म लाएँ।",
    "Chinese": "请在星期四带来签好的表格，我们需要它。",
    "Japanese": "木曜日に署名した用紙を持ってきてください。",
    "Korean": "목요일에 서명한 양식을 가져오세요.",
    "Emoji": "Great 👍🏽 family 👨‍👩‍👧 flag 🇬🇧 heart ❤️",
}
