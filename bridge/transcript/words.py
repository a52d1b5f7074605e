"""What an event says in words, where it is not a message that somebody wrote.

One function per kind of event, in tables by event type; each takes the event's content and gives a sentence's
predicate ("created the chat") or nothing if there is nothing to tell. Names come in front elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from bridge.transcript.events import mapping, text
from bridge.transcript.model import Kind

Content = Mapping[str, Any]

POLL_STARTS = ("m.poll.start", "org.matrix.msc3381.poll.start")
POLL_VOTES = ("m.poll.response", "org.matrix.msc3381.poll.response")
POLL_ENDS = ("m.poll.end", "org.matrix.msc3381.poll.end")
BEACONS = ("m.beacon", "org.matrix.msc3672.beacon")

MOST_ANSWERS = 20
"""MSC3381: further answers are cut off by clients, too."""

SAYS_NOTHING = frozenset({
    "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility", "m.room.guest_access", "m.room.avatar",
    "m.room.canonical_alias", "m.room.aliases", "m.room.policy", "m.room.server_acl", "m.room.related_groups",
    "m.space.parent", "m.space.child", "org.qwil.draft", "org.qwil.direct", "m.room.bot.options",
})  # fmt: skip
"""Types of events with nothing in them for a reader; they are counted, not shown."""

_DEGREES = r"(-?\d{1,3}(?:\.\d+)?)"
_GEO = re.compile(rf"geo:{_DEGREES},{_DEGREES}(?:,[^;]*)?(?:;.*?u=(\d+(?:\.\d+)?))?", re.IGNORECASE)  # RFC 5870


def predicate(kind: str, content: Content) -> str | None:
    """What somebody did with an event of that type; none for types that are not in the table."""
    say = PREDICATES.get(kind)
    return say(content) if say else None


def _topic(content: Content) -> str:
    formed = mapping(content, "m.topic").get("m.text")
    bodies = [text(form, "body") for form in formed if isinstance(form, dict)] if isinstance(formed, list) else []
    topics = [f"“{topic}”" for topic in dict.fromkeys(filter(None, [text(content, "topic"), *bodies]))]
    return f"set the topic to {', elsewhere shown as '.join(topics)}." if topics else "removed the topic."


def _encryption(_: Content) -> str:
    return "switched on encryption; what was written after this may be unreadable in this record."


def _pinned(content: Content) -> str:
    pinned = content.get("pinned")
    count = len(pinned) if isinstance(pinned, list) else 0
    return f"changed the pinned messages; {count} {'is' if count == 1 else 'are'} pinned now."


def _beacon(content: Content) -> str:
    about = f" (“{described}”)" if (described := text(content, "description")) else ""
    live = content.get("live") is True
    return f"began to share their live location{about}." if live else f"stopped sharing their live location{about}."


PREDICATES: Mapping[str, Callable[[Content], str]] = {
    "m.room.create": lambda _: "created the chat.",
    "m.room.topic": _topic,
    "m.room.encryption": _encryption,
    "m.room.pinned_events": _pinned,
    "m.room.tombstone": lambda _: "closed this chat; it goes on in another room.",
    "m.room.third_party_invite": lambda _: "invited somebody by e-mail or telephone.",
    "m.call.invite": lambda _: "called.",
    "m.call.answer": lambda _: "answered the call.",
    "m.call.reject": lambda _: "declined the call.",
    "m.call.hangup": lambda _: "ended the call.",
    "m.beacon_info": _beacon,
    "org.matrix.msc3672.beacon_info": _beacon,
}


def chat_changed(before: Content, now: Content) -> str | None:
    """What a change of `org.qwil.chat` means to its people; none if nothing to them."""
    if before and before.get("kind") != now.get("kind"):
        return f"The chat became {_article(str(now.get('kind')))} chat."
    if now.get("staff_only") is True and before.get("staff_only") is not True:
        return "The chat became staff-only: clients can no longer be added."
    return None


def _article(kind: str) -> str:
    return f"an {kind}" if kind[:1] in "aeiou" else f"a {kind}"


def location(content: Content) -> str:
    """A shared place: its coordinates in words, and what the sender's client called it."""
    return f"Location: {_place(content)}"


def seen_at(content: Content) -> str:
    """Where somebody was who shares their live location (MSC3672)."""
    return f"shared their live location: {_place(content)}."


def _place(content: Content) -> str:
    place = mapping(content, "m.location") or mapping(content, "org.matrix.msc3488.location")
    uri = text(content, "geo_uri") or text(place, "uri") or ""
    named = text(place, "description") or text(content, "body") or ""
    found = _GEO.match(uri)
    where = _coordinates(*found.groups()) if found else f"“{uri}”" if uri else "at no given place"
    return where + (f" – {named}" if named and named != uri else "")


def _coordinates(latitude: str, longitude: str, within: str | None) -> str:
    north = f"{latitude.lstrip('-')}° {'S' if latitude.startswith('-') else 'N'}"
    east = f"{longitude.lstrip('-')}° {'W' if longitude.startswith('-') else 'E'}"
    return f"{north}, {east}" + (f", within {within} m" if within else "")


def poll(content: Content) -> tuple[str, dict[str, str]]:
    """A poll in words, and its answers by their ids."""
    start = mapping(content, "m.poll") or mapping(content, "org.matrix.msc3381.poll.start")
    question = _words_of(mapping(start, "question")) or "(no question)"
    listed = start.get("answers")
    offered = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    answers: dict[str, str] = {}
    lines = []
    for number, answer in enumerate(offered[:MOST_ANSWERS], 1):
        said = _words_of(answer) or "(empty)"
        answers.setdefault(text(answer, "m.id") or text(answer, "id") or "", said)
        lines.append(f"{number}. {said}")
    if len(offered) > MOST_ANSWERS:
        lines.append(f"({len(offered) - MOST_ANSWERS} more, which clients do not show)")
    return "\n".join([f"Poll: {question}", *lines]), answers


def vote(content: Content, answers: Mapping[str, str]) -> str:
    """What somebody voted for."""
    chosen = content.get("m.selections")
    if not isinstance(chosen, list):
        chosen = mapping(content, "org.matrix.msc3381.poll.response").get("answers")
    named = [f"“{answers.get(one, one)}”" for one in chosen if isinstance(one, str)] if isinstance(chosen, list) else []
    return f"voted for {', '.join(named[:MOST_ANSWERS])}." if named else "took back their vote."


def poll_end(content: Content) -> str:
    """How a poll ended."""
    result = _words_of(content)
    return f"ended the poll: {result}" if result else "ended the poll."


def _words_of(content: Content) -> str | None:
    """The text of an extensible event (MSC1767), in either of its two spellings."""
    told = content.get("m.text")
    if isinstance(told, list):
        told = next((part.get("body") for part in told if isinstance(part, dict)), None)
    for words in (told, content.get("org.matrix.msc1767.text"), content.get("body")):
        if isinstance(words, str) and words:
            return words
    return None


Sentence = tuple[Kind, str]
"""What somebody's coming or going is, and how it is told."""


def _joined(_: str, own: bool) -> Sentence:
    return "join", "{who} joined." if own else "{who} was joined by {by}."


def _invited(_: str, _own: bool) -> Sentence:
    return "invite", "{by} invited {who}."


def _left(before: str, own: bool) -> Sentence:
    ways: Mapping[str, tuple[str, str]] = {
        "invite": ("{who} declined the invitation.", "{by} withdrew the invitation of {who}."),
        "knock": ("{who} no longer asks to join.", "{by} refused to let {who} join."),
        "ban": ("{who} is no longer barred.", "{by} no longer bars {who}."),
    }
    by_oneself, by_another = ways.get(before, ("{who} left.", "{by} removed {who}."))
    return "leave", by_oneself if own else by_another


MEMBERSHIPS: Mapping[str, Callable[[str, bool], Sentence]] = {
    "join": _joined,
    "invite": _invited,
    "leave": _left,
    "ban": lambda _before, _own: ("leave", "{by} removed {who} and barred them."),
    "knock": lambda _before, _own: ("notice", "{who} asks to join."),
}
