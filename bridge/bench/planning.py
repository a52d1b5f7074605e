"""Planning a homeserver on which nothing differs, against one pass over all memberships of its chats.

The pass looks up the same facts: for each Matrix ID in each chat whom it stands for, its status, name and picture.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from bridge.bench.measure import Row, in_turns
from bridge.bench.size import Say, Size
from bridge.bench.world import NOW, World
from policy.model import Policy, UserId
from policy.observation import Look, Member, Observation, Room, Settings
from policy.plan import Plan, plan
from policy.reach import status
from policy.reconcile import profile_actions
from policy.rooms import shown_badge, shown_name, stands_for
from policy.template import power_levels

NAME = "planning"
TIMES = 3

BOT = UserId("@qwil:school.example")
IN_A_CHAT = 30
CHATS_PER_PERSON = 0.1
NO_SPACES = Settings(book_space_members=1_000_000)


def measure(size: Size, say: Say) -> Iterator[Row]:
    """The row: a whole plan by one pass."""
    people = max(size.people // 10, 1_000)
    chats = round(people * CHATS_PER_PERSON)
    say(f"{NAME}: {chats:,} chats of {people:,} people")
    policy = World(people).policy
    seen = as_it_should_be(policy, chats)
    turns = in_turns(lambda: planned(policy, seen), lambda: one_pass(policy, seen), size.rounds)
    what = f"a plan of {chats:,} chats and {people:,} people: time against one pass over all memberships"
    due = len(planned(policy, seen).steps)
    detail = f"{min(turns.ours) * 1e3:.0f} ms against {min(turns.theirs) * 1e3:.0f} ms; {due} due"
    yield Row(NAME, what, turns.ratios, TIMES, detail=detail)


def planned(policy: Policy, seen: Observation) -> Plan:
    """Ours."""
    return plan(policy, seen, NOW, NO_SPACES, wait_above=10)


def one_pass(policy: Policy, seen: Observation) -> int:
    """The floor: how many members are not as they should be."""
    wrong = 0
    for room in seen.rooms.values():
        for user, shown in room.members.items():
            member = stands_for(policy, room.home, user, NOW)
            if member is None or status(member, NOW) != "active":
                wrong += user != BOT
                continue
            look = Look(shown_name(policy, member, room.home), shown_badge(member, room.home))
            wrong += shown.name != look.name or shown.avatar != seen.avatars.get((user, Look(member.name, look.badge)))
    return wrong


def as_it_should_be(policy: Policy, chats: int) -> Observation:
    """A homeserver on which nothing is to be done."""
    dice = random.Random(20)
    avatars, rooms = {}, {}
    staff = {
        home: [
            member.matrix
            for member in policy.people.values()
            if member.organisation == home
            and member.role == "staff"
            and member.matrix
            and status(member, NOW) == "active"
        ]
        for home in policy.organisations
    }
    homes = [home for home, users in staff.items() if users]
    for number in range(chats):
        home = homes[number % len(homes)]
        users = dice.sample(staff[home], min(IN_A_CHAT, len(staff[home])))
        members = {BOT: Member("join")}
        for user in users:
            member = stands_for(policy, home, user, NOW)
            assert member is not None  # noqa: S101 - chosen so
            avatars[user, Look(member.name, "S")] = f"mxc://school.example/{user}"
            members[user] = Member("join", member.name, f"mxc://school.example/{user}")
        room = Room(
            id=f"!{number}:school.example",
            creator=users[0],
            members=members,
            chat={"organisation": home, "kind": "staff", "draft": False, "staff_only": False},
            power_levels=power_levels(BOT, users),
            avatar="mxc://school.example/staff",
        )
        rooms[room.id] = room
    nothing_yet = Observation(BOT, "school.example")
    profiles = {due.user: due.look for due in profile_actions(policy, nothing_yet, NOW)}
    return Observation(BOT, "school.example", rooms, profiles, avatars, {"staff": "mxc://school.example/staff"})
