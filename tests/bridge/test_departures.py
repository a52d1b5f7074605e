"""When an organisation has left a chat, also where the record came out of order or the policy changed a moment ago."""

from __future__ import annotations

from bridge.reviewing import Access, access_to
from bridge.store import Store
from policy.model import PersonId, Policy
from tests.bridge.test_parts import BEN, BOT, CREATED, NOW, ROOM, member, noted, observed, policy, readable, said


async def rita(store: Store, given: Policy) -> Access:
    """What Riverside's reviewer may read."""
    observer = await observed(store)
    who = given.people[PersonId("river/rita")]
    access = await access_to(store, given, observer.rooms[ROOM], BOT, [who], NOW)
    assert access is not None
    return access


async def test_an_invitation_that_is_found_later_does_not_bring_back_who_left(store: Store) -> None:
    await store.receive("a", CREATED, received=10.0)
    await noted(store, policy(), 11.0)
    await store.receive("b", [member(8, BEN, "leave"), said(9)], received=20.0)
    state = [*CREATED[:4], member(8, BEN, "leave")]
    late = member(4, BEN, "invite")._replace(event_id="$late")
    await store.fill(ROOM, [late], state, asked=await store.last_arrival(), received=30.0)

    assert await readable(store, policy(), "river/rita") == ["$6"]


async def test_where_times_contradict_the_state_who_left_has_left(store: Store) -> None:
    """A homeserver whose clock was set back says that Ben left before he came."""
    await store.receive("a", CREATED, received=10.0)
    await noted(store, policy(), 11.0)
    gone = member(4, BEN, "leave")._replace(event_id="$gone")
    await store.receive("b", [gone, said(9)], received=20.0)

    last = (await rita(store, policy())).last

    assert last is not None
    assert last.event_id == "$gone"


async def test_who_changed_sides_a_moment_ago_has_left_though_that_is_not_noted_yet(store: Store) -> None:
    await store.receive("a", CREATED, received=10.0)
    await noted(store, policy("river"), 11.0)
    await store.receive("b", [said(7)], received=20.0)
    await store.receive("c", [said(8)], received=NOW + 1)

    last = (await rita(store, policy("lake"))).last

    assert last is not None
    assert last.event_id == "$7"
