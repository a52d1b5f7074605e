"""May this event stand in this room? The one judgement behind Synapse's `check_event_allowed`, as a pure function.

It asks `policy.decide` for everything that is a question, and adds what only a homeserver has to know: event types,
who may enter by what invitation, whose name a member event carries, and which message opens a draft.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from policy.decide import decide
from policy.decision import Decision, Objection
from policy.model import Membership, Moment, Policy, UserId
from policy.profiles import member_content
from policy.question import Add, Chat, Enter, Remove, Rename, Send
from policy.reach import is_active, status
from policy.room import PRESENT, Attempt, Room, chat_of
from policy.room_events import ENTRY, MAILED, RECORD, SPACES, objection_to
from policy.rooms import CHAT, shown_name, stands_for, stood_for
from policy.rules.company import current_kind
from policy.rules.person import actor_objections
from policy.template import BOT_POWER, STAFF_POWER, kept_powers, power_levels, room_name
from policy.words import is_command, not_known, unknown_word

UnlistedAccounts = Literal["refuse", "ignore"]

Content = Mapping[str, Any]

_OURS = "org.qwil."
"""Events that make a room one of ours; nobody makes their own room one."""

POWER_LEVELS = "m.room.power_levels"
REDACTION = "m.room.redaction"
REACTION = "m.reaction"


@dataclass(frozen=True, slots=True)
class Passes:
    """The event may stand; `content` replaces its own where that is not None."""

    content: Content | None = None


RULES = "org.qwil.rules"
"""Where a refusal on the wire carries the ids of the rules that object."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The event may not stand, and why."""

    text: str
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """An invitation into a draft: to be noted, and the invitation itself refused with this text."""

    whom: UserId
    text: str
    rules: tuple[str, ...] = ("CHAT-1",)


@dataclass(frozen=True, slots=True)
class Opens:
    """The first message of a draft: it may stand once these have been brought in, who are held and may enter."""

    people: tuple[UserId, ...]


@dataclass(frozen=True, slots=True)
class Redacts:
    """It may stand if the event it deletes is one that its sender may delete: `may_redact`."""


Verdict = Passes | Refused | Held | Opens | Redacts

UNLISTED = Objection(
    "INV-1", "Your account belongs to no organisation here. Ask the office of your organisation to invite you."
)
_OTHERS_MESSAGE = Objection("REV-1", "You can delete your own messages only; what others wrote stays theirs.")
_BUTLER_STAYS = Objection("BUT-1", "This is your direct chat with the system: it stays as long as you are a member.")
_BUTLER_ALONE = Objection("BUT-1", "The direct chat with the system is for you alone; nobody can be added or removed.")
_NO_NEWCOMERS = Objection(
    "PART-1", "This room was there before the rules and takes in nobody new. Start a new chat with these people."
)
_FROM_BEFORE = Objection(
    "PART-1", "This room was there before the rules: its members can write in it and leave it, and nothing else."
)
_NOT_INVITED = Objection("PART-1", "You can enter a chat only when somebody in it has added you.")
_NO_LONGER_IN = Objection("PART-8", "You are no longer in this chat. Somebody in it has to add you again.")
FORMER = Objection("PART-8", "You are no longer in this chat: you keep what you saw, and cannot act in it.")
STRANGER = Objection("PART-8", "You are not in this chat and cannot act in it.")
_NO_KNOCKING = Objection("PART-1", "Nobody can ask to enter a chat; somebody in it has to add you.")
_ONLY_STAFF_REMOVE = Objection("PART-7", "Only staff can remove people from a chat; you can leave it yourself.")
_NO_BANS = Objection("PART-7", "Nobody is banned from a chat. Remove the person instead.")
_BOT_STAYS = Objection("REV-1", "The system takes part in every chat, so that it is on record, and cannot be removed.")
_NO_CHAT = Objection(
    "DIR-4", "The organisation of this chat is not in the policy any more. You can only leave the chat."
)
_INCOMPLETE = Objection(
    "REV-1",
    "This chat could not be set up as it has to be, and nothing can be done in it. Leave it and start anew.",
)
_NOTICES = Objection("BUT-1", "Nobody writes here; it only gathers chats and people.")
_NAMES_ARE_GIVEN = Objection("USR-5", "Names are given by your organisation; ask its office to change yours.")
_BADGES_ARE_GIVEN = Objection("EXT-8", "Pictures show who is staff, client or external, and are set by the system.")
_KIND_STAYS = Objection("EXT-12", "The kind of a chat never goes back, nor does it become a draft again.")
_STAFF_ONLY = Objection("CHAT-10", "A chat with a client cannot be made staff-only.")
_COMMANDS_STAY = Objection("CHAT-1", "What you wrote to the system cannot be changed any more: write it once more.")
_TEMPLATE = Objection("PART-7", "The powers in a room are those its template gives, whoever sets them.")


def judge(policy: Policy, unlisted: UnlistedAccounts, room: Room, attempt: Attempt, now: Moment) -> Verdict:
    """What becomes of the event in that room at that moment."""
    if attempt.sender == room.bot:
        return _by_the_bot(policy, room, attempt, now)
    if _leaves(attempt):
        return _leave(policy, room, attempt, now)
    if attempt.sender not in policy.accounts:
        return _by_the_unlisted(policy, unlisted, room, attempt)
    if room.home is not None and room.home not in policy.organisations:
        return refused(_NO_CHAT)
    if _outside(room, attempt):
        return refused(FORMER if attempt.sender in room.members else STRANGER)
    if _incomplete(room) and not (room.made and _calls_the_bot(room, attempt)):
        return refused(_INCOMPLETE)
    if attempt.type == "m.room.member":
        return _MEMBERSHIPS.get(str(attempt.content.get("membership")), _not_so)(policy, room, attempt, now)
    if attempt.type == POWER_LEVELS and _hands_over(room, attempt):
        return Passes()
    if objection := objection_to(attempt.type, state=attempt.state_key is not None):
        return refused(objection)
    return _titled(policy, room, attempt, now) if attempt.state_key is not None else _said(policy, room, attempt, now)


def refused(*objections: Objection) -> Refused:
    """A refusal by these rules."""
    decision = Decision(False, objections)
    return Refused(decision.text, decision.rules)


def _so(decision: Decision, content: Content | None = None) -> Passes | Refused:
    return Passes(content) if decision.allowed else Refused(decision.text, decision.rules)


def _leaves(attempt: Attempt) -> bool:
    own = attempt.type == "m.room.member" and attempt.state_key == attempt.sender
    return own and attempt.content.get("membership") == "leave"


def _outside(room: Room, attempt: Attempt) -> bool:
    """Whoever is not in a chat learns nothing of it, not even why the chat would refuse them."""
    enters = attempt.type == "m.room.member" and attempt.state_key == attempt.sender
    return room.chat is not None and room.membership(attempt.sender) != "join" and not enters


def not_in(target: str | None) -> Objection:
    """Why somebody who is not in a chat cannot be removed from it."""
    return Objection("PART-7", f"{target} is not in this chat and cannot be removed from it.")


def _incomplete(room: Room) -> bool:
    """Without its powers or the bot a chat would be on no reviewer's list: its making failed, or was imitated."""
    return room.chat is not None and (not room.made or room.membership(room.bot) not in PRESENT)


def _calls_the_bot(room: Room, attempt: Attempt) -> bool:
    """The last step of making a chat."""
    invites = attempt.type == "m.room.member" and attempt.content.get("membership") == "invite"
    return invites and attempt.state_key == room.bot and attempt.sender == room.creator


# Accounts that no organisation knows


def _by_the_unlisted(policy: Policy, unlisted: UnlistedAccounts, room: Room, attempt: Attempt) -> Verdict:
    """They have no part in our rooms; with `ignore` their own rooms are theirs, as long as no member is drawn in."""
    if _answers_the_bot(room, attempt):
        return Passes()
    if unlisted == "refuse" or _governed(room) or attempt.type.startswith(_OURS):
        return refused(UNLISTED)
    if attempt.type == "m.room.member" and attempt.state_key in policy.accounts:
        return refused(UNLISTED)
    return Passes()


def _answers_the_bot(room: Room, attempt: Attempt) -> bool:
    """Somebody invited proves an account by reading a code in the direct chat that the bot opens for it (INV-7)."""
    enters = attempt.type == "m.room.member" and attempt.content.get("membership") == "join"
    own = room.direct == attempt.sender == attempt.state_key
    return enters and own and room.membership(attempt.sender) == "invite"


def _governed(room: Room) -> bool:
    return room.chat is not None or room.direct is not None or room.creator == room.bot


# Members


def _not_so(_policy: Policy, _room: Room, _attempt: Attempt, _now: Moment) -> Verdict:
    return refused(_NO_KNOCKING)


def _ban(_policy: Policy, _room: Room, _attempt: Attempt, _now: Moment) -> Verdict:
    return refused(_NO_BANS)


def _leave(policy: Policy, room: Room, attempt: Attempt, now: Moment) -> Verdict:
    """Leaving is always possible (PART-6), but for the direct chat with the bot while one is a member (BUT-1)."""
    stays = room.direct == attempt.sender and room.membership(attempt.sender) == "join" and not attempt.closing
    if stays and is_active(policy, attempt.sender, now):
        return refused(_BUTLER_STAYS)
    return _as_content(attempt, member_content(policy, None, None, attempt.content, before={}, badge=None))


def _invite(policy: Policy, room: Room, attempt: Attempt, now: Moment) -> Verdict:
    target = UserId(str(attempt.state_key))
    if "third_party_invite" in attempt.content:
        return refused(MAILED)
    if room.chat is None or room.direct is not None:
        return _invite_elsewhere(room, target)
    if target == room.bot:
        return Passes()
    # Who is held comes in by an invitation once the chat has begun; in a draft they are there already.
    entering = room.begun() and room.membership(target) not in ("join", "invite")
    chat = chat_of(policy, room, now, without=target if entering else None)
    if chat is None:
        return refused(_NO_CHAT)
    decision = _added(policy, chat, attempt.sender, target, now)
    if not decision.allowed:
        return _so(decision)
    if chat.draft:
        return _held(policy, chat, target, now)
    return with_profile(policy, room, attempt, now)


def _invite_elsewhere(room: Room, target: UserId) -> Verdict:
    if target == room.bot and not room.bots_own:
        return Passes()
    return refused(_BUTLER_ALONE if room.direct is not None else SPACES if room.bots_own else _NO_NEWCOMERS)


def _held(policy: Policy, chat: Chat, target: UserId, now: Moment) -> Held:
    member = stands_for(policy, chat.organisation, target, now)
    name = shown_name(policy, member, chat.organisation) if member else target
    return Held(target, f"Noted: {name} joins with your first message.")


def _added(policy: Policy, chat: Chat, sender: UserId, target: UserId, now: Moment) -> Decision:
    """May the sender add this Matrix ID? One that stands for nobody there is a stranger (DIR-4)."""
    who = stood_for(policy, chat.organisation, sender, now)
    whom = stands_for(policy, chat.organisation, target, now)
    if who is None:
        return Decision(False, (UNLISTED,))
    if whom is not None:
        return decide(policy, Add(who.id, whom.id, chat), now)
    acting = decide(policy, Rename(who.id, chat), now)
    return Decision(False, (*acting.because, stranger(policy, who, target)))


def stranger(policy: Policy, who: Membership, target: UserId) -> Objection:
    """DIR-4 for a Matrix ID that the asker's organisation does not reach, the same whether it is known or not."""
    organisation = policy.organisations[who.organisation].name
    return Objection(
        "DIR-4",
        f"{target} belongs to no organisation that {organisation} is connected with. "
        "The person or the organisation has to be invited first.",
    )


def _join(policy: Policy, room: Room, attempt: Attempt, now: Moment) -> Verdict:
    if attempt.state_key != attempt.sender:
        return refused(ENTRY)
    before = room.membership(attempt.sender)
    if before == "join":
        return _renamed(policy, room, attempt, now)
    if before != "invite":
        return refused(_NO_LONGER_IN if attempt.sender in room.members else _NOT_INVITED)
    inviter = room.members[attempt.sender].sender
    if objection := _entry_objection(room, attempt.sender, inviter):
        return refused(objection)
    decision = _entered(policy, room, attempt.sender, inviter, now) if room.chat is not None else Decision(True)
    return with_profile(policy, room, attempt, now) if decision.allowed else _so(decision)


def _renamed(policy: Policy, room: Room, attempt: Attempt, now: Moment) -> Verdict:
    """A member event of somebody inside: another name is refused, and so is a picture that is none of the bot's.

    What comes from the account's profile was not asked for, and is made what is right for the room.
    """
    passes = with_profile(policy, room, attempt, now)
    content, right = attempt.content, passes.content or attempt.content
    before = room.members[attempt.sender].content
    unasked = (attempt.profile, before, right)
    plain = {member.name for member in policy.accounts.get(attempt.sender, ())}
    if content.get("displayname") not in {None, *plain, *(one.get("displayname") for one in unasked)}:
        return refused(_NAMES_ARE_GIVEN)
    if attempt.badge is None and content.get("avatar_url") not in {
        None,
        "",
        *(one.get("avatar_url") for one in unasked),
    }:
        return refused(_BADGES_ARE_GIVEN)
    return passes


def _entry_objection(room: Room, user: UserId, inviter: UserId) -> Objection | None:
    if room.direct is not None:
        return None if room.direct == user else _BUTLER_ALONE
    if room.chat is not None:
        return None
    if room.bots_own:
        return None if inviter == room.bot else SPACES
    return _NO_NEWCOMERS


def _entered(policy: Policy, room: Room, user: UserId, inviter: UserId, now: Moment) -> Decision:
    """An invitation is judged again when it is taken up: the policy or the chat may have changed since."""
    chat = chat_of(policy, room, now, without=user)
    if chat is None:
        return Decision(False, (_NO_CHAT,))
    me = stands_for(policy, chat.organisation, user, now)
    if me is None:
        return Decision(False, (_NOT_INVITED,))
    decision = decide(policy, Enter(me.id, chat), now)
    if not decision.allowed or inviter == room.bot or room.membership(inviter) != "join":
        return decision
    again = _added(policy, chat, inviter, user, now)
    return again if again.allowed else _told_the_invited(again)


def _told_the_invited(decision: Decision) -> Decision:
    """The same rules in words for the one who wants in: what the inviter would be told is not theirs to read."""
    text = "This invitation does not hold any more. Ask whoever invited you to add you again."
    return Decision(False, tuple(Objection(rule, text) for rule in decision.rules) or (Objection("PART-1", text),))


def with_profile(policy: Policy, room: Room, attempt: Attempt, now: Moment) -> Passes:
    """A member event with the policy's name and the bot's picture of the person it is about."""
    user = UserId(str(attempt.state_key))
    before = room.members[user].content if user in room.members else {}
    home = room.home
    member = stood_for(policy, home, user, now) if home else next(iter(policy.accounts.get(user, ())), None)
    return _as_content(
        attempt, member_content(policy, member, home, attempt.content, before=before, badge=attempt.badge)
    )


def own_entry(policy: Policy, home: str | None, attempt: Attempt, now: Moment) -> Passes:
    """The creator's entry into a room that is being made for that organisation."""
    room = Room(attempt.sender, UserId(""), {}, chat={"organisation": home} if home else None)
    return with_profile(policy, room, attempt, now)


def _as_content(attempt: Attempt, content: Content) -> Passes:
    return Passes(None if content == attempt.content else content)


def _removal(policy: Policy, room: Room, attempt: Attempt, now: Moment) -> Verdict:
    """`leave` for somebody else: removing, which is a matter of chats."""
    target = UserId(str(attempt.state_key))
    if target == room.bot:
        return refused(_BOT_STAYS)
    if room.chat is None or room.direct is not None:
        return refused(_BUTLER_ALONE if room.direct is not None else SPACES if room.bots_own else _FROM_BEFORE)
    # Whoever is told that they were removed is handed the room's state, whether they were in it or not.
    if room.membership(target) not in PRESENT:
        return refused(not_in(target))
    chat = chat_of(policy, room, now)
    who = stood_for(policy, chat.organisation, attempt.sender, now) if chat else None
    if chat is None or who is None:
        return refused(_NO_CHAT)
    whom = stood_for(policy, chat.organisation, target, now)
    if whom is not None:
        return _so(decide(policy, Remove(who.id, whom.id, chat), now))
    acting = decide(policy, Rename(who.id, chat), now)
    return refused(_ONLY_STAFF_REMOVE) if acting.allowed and who.role == "client" else _so(acting)


_MEMBERSHIPS: dict[str, Callable[[Policy, Room, Attempt, Moment], Verdict]] = {
    "invite": _invite,
    "join": _join,
    "leave": _removal,
    "ban": _ban,
    "knock": _not_so,
}


# Names, topics and messages


def _hands_over(room: Room, attempt: Attempt) -> bool:
    """Nobody gains by it: the sender lowers their own power, or gives the bot its power in a room from before."""
    if attempt.state_key != "" or room.levels is None or room.membership(attempt.sender) != "join":
        return False
    before, after = dict(room.levels), dict(attempt.content)
    held, given = before.pop("users", None), after.pop("users", None)
    if before != after or not isinstance(held, Mapping) or not isinstance(given, Mapping):
        return False
    default = before.get("users_default", 0)
    changed = {user for user in {*held, *given} if held.get(user, default) != given.get(user, default)}
    to_bot = room.from_before and given.get(room.bot) == BOT_POWER
    own = changed <= {attempt.sender, room.bot} and _lower(given.get(attempt.sender, default), held, attempt, default)
    return bool(changed) and own and (room.bot not in changed or to_bot)


def _lower(level: object, held: Mapping[str, Any], attempt: Attempt, default: object) -> bool:
    was = held.get(attempt.sender, default)
    return isinstance(level, int) and isinstance(was, int) and level <= was


def _titled(policy: Policy, room: Room, attempt: Attempt, now: Moment) -> Verdict:
    if attempt.state_key != "":
        return refused(RECORD)
    if room.chat is None:
        return refused(_BUTLER_ALONE if room.direct is not None else SPACES if room.bots_own else _FROM_BEFORE)
    chat = chat_of(policy, room, now)
    who = stood_for(policy, chat.organisation, attempt.sender, now) if chat else None
    if chat is None or who is None:
        return refused(_NO_CHAT)
    return _so(decide(policy, Rename(who.id, chat), now), _with_a_name(attempt))


def _with_a_name(attempt: Attempt) -> Content | None:
    """CHAT-6: an emptied title is the default one again."""
    if attempt.type != "m.room.name":
        return None
    name = attempt.content.get("name")
    named = {"name": room_name(name if isinstance(name, str) else "")}
    return None if named == attempt.content else named


def _said(policy: Policy, room: Room, attempt: Attempt, now: Moment) -> Verdict:
    if room.chat is None:
        return _said_elsewhere(policy, room, attempt, now)
    chat = chat_of(policy, room, now)
    who = stood_for(policy, chat.organisation, attempt.sender, now) if chat else None
    if chat is None or who is None:
        return refused(_NO_CHAT)
    if chat.draft and who.id == chat.author and (objection := _mistyped(attempt)):
        return refused(objection)
    if chat.draft and who.id == chat.author and _opens(attempt):
        return _opening(policy, room, chat, who, now)
    if chat.draft and who.id == chat.author:
        chat = replace(chat, draft=False)
    decision = decide(policy, Send(who.id, chat), now)
    return Redacts() if decision.allowed and attempt.type == REDACTION else _so(decision)


def _opens(attempt: Attempt) -> bool:
    """Words to the bot are not a draft's first message, nor is what changes an earlier one."""
    return attempt.type not in (REDACTION, REACTION) and not is_command(attempt.content)


def _mistyped(attempt: Attempt) -> Objection | None:
    """What opens a draft is read by everybody it names, so that nobody shall open one by a slip of the finger."""
    if attempt.type in (REDACTION, REACTION):
        return None
    changed = attempt.content.get("m.new_content")
    if isinstance(changed, Mapping) and (is_command(changed) or unknown_word(changed)):
        return _COMMANDS_STAY
    word = unknown_word(attempt.content)
    return Objection("CHAT-1", not_known(word)) if word is not None else None


def _opening(policy: Policy, room: Room, chat: Chat, who: Membership, now: Moment) -> Verdict:
    """Everybody held is judged again, against the chat as it grows; who may not enter by now is left out."""
    growing = replace(chat, participants=(who.id,))
    own = decide(policy, Send(who.id, replace(growing, draft=False)), now)
    if not own.allowed:
        # Who may write nothing may bring in nobody either, which is no reason to be told to invite somebody.
        return _so(own)
    entering: list[UserId] = []
    for user in room.held:
        whom = stands_for(policy, chat.organisation, user, now)
        if whom is None or not decide(policy, Add(who.id, whom.id, growing), now).allowed:
            continue
        growing = replace(growing, participants=(*growing.participants, whom.id))
        # Who is suspended waits, and comes in on their return (USR-1).
        if status(whom, now) == "active":
            entering.append(user)
    decision = decide(policy, Send(who.id, growing), now)
    return Opens(tuple(entering)) if decision.allowed else _so(decision)


def _said_elsewhere(policy: Policy, room: Room, attempt: Attempt, now: Moment) -> Verdict:
    """In the direct chat with the bot, and in rooms from before, every active member may write."""
    if room.bots_own:
        return refused(_NOTICES)
    if room.direct is not None and room.direct != attempt.sender:
        return refused(_BUTLER_ALONE)
    if not is_active(policy, attempt.sender, now):
        return refused(*actor_objections(policy, policy.accounts[attempt.sender][0], now))
    return Redacts() if attempt.type == REDACTION else Passes()


def may_redact(room: Room, attempt: Attempt, target: Attempt | None) -> Passes | Refused:
    """Nobody deletes another person's message, and nobody, the bot neither, a setting of the room; None is unknown."""
    if target is not None and target.state_key is not None and target.type != "org.qwil.draft":
        return refused(_KIND_STAYS if target.type == CHAT else _TEMPLATE)
    if attempt.sender == room.bot or (target is not None and target.sender == attempt.sender):
        return Passes()
    return refused(_OTHERS_MESSAGE)


# The bot, and what the homeserver's administrators do in its name


def _by_the_bot(policy: Policy, room: Room, attempt: Attempt, now: Moment) -> Verdict:
    if attempt.type == REDACTION:
        return Redacts()
    if attempt.type == POWER_LEVELS and attempt.state_key == "":
        return Passes() if _by_template(policy, room, attempt.content, now) else refused(_TEMPLATE)
    if attempt.type == CHAT and room.chat is not None and not _onward(room.chat, attempt.content):
        return refused(_KIND_STAYS)
    if attempt.type == CHAT and attempt.content.get("staff_only") is True and _has_a_client(policy, room, now):
        return refused(_STAFF_ONLY)
    return Passes()


def _has_a_client(policy: Policy, room: Room, now: Moment) -> bool:
    """Whether a client came in while the chat was being made staff-only (CHAT-10)."""
    if room.chat is None or room.chat.get("staff_only") is True:
        return False
    chat = chat_of(policy, room, now)
    return chat is not None and current_kind(policy, chat) == "client"


def _by_template(policy: Policy, room: Room, content: Content, now: Moment) -> bool:
    """In a chat the template for staff who are members; in other rooms the bot alone has power."""
    levels = content.get("users")
    users = levels if isinstance(levels, Mapping) else {}
    if room.home is None:
        return content.get("users_default", 0) == 0 and all(user == room.bot or not users[user] for user in users)
    kept = kept_powers(room.levels or {}, {user for user in room.members if room.membership(user) == "join"})
    staff = [UserId(user) for user, level in users.items() if user != room.bot and level == STAFF_POWER]
    template = power_levels(room.bot, staff)
    template["users"] |= kept
    return content == template and all(_is_staff(policy, room, user, now) for user in staff)


def _is_staff(policy: Policy, room: Room, user: UserId, now: Moment) -> bool:
    known = room.home is not None and room.home in policy.organisations
    member = stands_for(policy, str(room.home), user, now) if known else None
    return member is not None and member.role == "staff"


_ONWARD = {
    ("staff", "staff"),
    ("staff", "client"),
    ("staff", "external"),
    ("client", "client"),
    ("external", "external"),
}


def _onward(before: Content, after: Content) -> bool:
    """The kind never goes back, a chat stays its organisation's, what has begun is no draft, and `staff_only` stays."""
    return (
        (before.get("kind"), after.get("kind")) in _ONWARD
        and before.get("organisation") == after.get("organisation")
        and (after.get("draft") is False or before.get("draft") is True)
        and (after.get("staff_only") is True or before.get("staff_only") is not True)
    )
