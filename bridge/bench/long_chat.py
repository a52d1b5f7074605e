"""A chat of any length with something of everything: ten scripts, replies, edits, deletions, reactions, pictures."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from typing import Any

from PIL import Image

from bridge.transcript.model import Person

ROOM = "!long:school.example"
START = 1_770_000_000_000
A_DAY = 250
"""Messages."""

TEXTS = (
    "Good morning, the coach leaves at nine and we are back by four.",
    "Guten Morgen, der Bus fährt um neun Uhr ab; bitte Regenjacken mitgeben.",
    "Chào buổi sáng, hôm nay trời mưa nên các em ở trong lớp học.",
    "Доброе утро, автобус отправляется в девять часов от ворот школы.",
    "Καλημέρα σας, το λεωφορείο φεύγει στις εννέα από την πύλη.",
    "صباح الخير، تغادر الحافلة في الساعة التاسعة صباحا من البوابة",
    "בוקר טוב, האוטובוס יוצא בשעה תשע מהשער של בית הספר",
    "सुप्रभात, बस नौ बजे स्कूल के गेट से निकलेगी।",
    "早上好，校车九点从校门口出发，请准时到达。",
    "おはようございます。バスは九時に校門を出発します。",
)
PEOPLE = {
    f"@p{number}:school.example": Person(f"@p{number}:school.example", f"Person {number}", "staff", "Hillside", "S")
    for number in range(12)
}


def events(length: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """The events of a chat with so many messages, the same every time."""
    chance = random.Random(seed)
    users = list(PEOPLE)
    yield _event(0, users[0], "org.qwil.chat", {"organisation": "hillside", "kind": "staff"}, "")
    for place, user in enumerate(users, 1):
        yield _event(place, user, "m.room.member", {"membership": "join", "displayname": PEOPLE[user].name}, user)
    first = len(users) + 1
    for number in range(first, first + length):
        earlier = f"$e{chance.randrange(first, number)}" if number > first else None
        yield _event(number, chance.choice(users), *_said(chance, number, earlier))


def picture(mxc: str) -> bytes:
    """The picture behind an upload, each another one."""
    number = int(mxc.rpartition("/p")[2])
    out = io.BytesIO()
    Image.effect_noise((320, 240), 20 + number % 60).convert("RGB").save(out, "JPEG", quality=60)
    return out.getvalue()


def _event(number: int, sender: str, kind: str, content: dict[str, Any], key: str | None = None) -> dict[str, Any]:
    whole = {"event_id": f"$e{number}", "room_id": ROOM, "sender": sender, "type": kind, "content": content,
             "origin_server_ts": START + number * (86_400_000 // A_DAY)}  # fmt: skip
    return whole if key is None else {**whole, "state_key": key}


def _said(chance: random.Random, number: int, earlier: str | None) -> tuple[str, dict[str, Any]]:
    text = f"{chance.choice(TEXTS)} {number}" + (" 👍🎉" if chance.random() < 0.15 else "")
    said: dict[str, Any] = {"msgtype": "m.text", "body": text}
    dice = chance.random()
    if dice < 0.02:
        info = {"mimetype": "image/jpeg"}
        return "m.room.message", {"msgtype": "m.image", "body": f"{number}.jpg", "url": _upload(number), "info": info}
    if earlier is None or dice >= 0.30:
        return "m.room.message", said
    if dice < 0.14:
        return "m.room.message", {**said, "m.relates_to": {"m.in_reply_to": {"event_id": earlier}}}
    if dice < 0.18:
        return "m.room.message", {**said, "m.new_content": said, "m.relates_to": _relation("m.replace", earlier)}
    if dice < 0.20:
        return "m.room.redaction", {"redacts": earlier}
    return "m.reaction", {"m.relates_to": {**_relation("m.annotation", earlier), "key": "👍"}}


def _upload(number: int) -> str:
    return f"mxc://school.example/p{number}"


def _relation(kind: str, event: str) -> dict[str, Any]:
    return {"rel_type": kind, "event_id": event}


def as_json(event: dict[str, Any]) -> str:
    """An event as the record keeps it."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
