"""Who may still have which files, as their memberships stand."""

import pytest

from policy.change import Files
from policy.downloads import active_for, active_in, addresses, people_of, restricted
from policy.edit import policy_in
from policy.model import Policy, UserId

ANN = UserId("@ann:x.example")
EVE = UserId("@eve:x.example")
NOON = 1_800_000_000.0


def policy_text(*memberships: str, network: str = "") -> str:
    """Ann's memberships, one in each school, each with this standing, and one more school."""

    def school(number: int, people: str) -> str:
        member_of = f"    network: {network}\n" if network else ""
        head = "{name: Head, role: staff, admin: system, email: h@x.example, mobile: '+447700900000'}"
        return f"  school-{number}:\n    name: School {number}\n{member_of}    people:\n      head: {head}\n{people}"

    ann = "      ann: {{name: Ann, role: staff, email: a@x.example, mobile: '+447700900001', matrix: '{}', {}}}\n"
    schools = [school(number, ann.format(ANN, standing)) for number, standing in enumerate(memberships, 1)]
    return "organisations:\n" + "".join([*schools, school(len(memberships) + 1, "")])


def policy(*memberships: str) -> Policy:
    """The same, read."""
    found = policy_in(Files("policy.yaml", policy_text(*memberships).encode(), {}))
    assert isinstance(found, Policy), found
    return found


@pytest.mark.parametrize(
    ("memberships", "closed", "active"),
    [
        (["status: active"], False, [1]),
        (["status: active", "status: active"], False, [1, 2]),
        (["status: active", "status: invited"], False, [1]),
        (["status: suspended"], True, []),
        (["status: left"], True, []),
        (["status: active, until: 2020-01-31"], True, []),
        (["status: invited"], True, []),
        (["status: suspended", "status: active"], True, [2]),
        (["status: active", "status: left"], True, [1]),
        (["status: active", "status: suspended", "status: active"], True, [1, 3]),
    ],
)
def test_files_are_asked_about_for_whoever_is_suspended_or_has_left_somewhere(
    memberships: list[str], closed: bool, active: list[int]
) -> None:
    found = policy(*memberships)

    assert restricted(found, ANN, NOON) is closed
    schools = [number for number in range(1, 4) if active_in(found, ANN, f"school-{number}", NOON)]
    assert schools == active
    # Without a network a chat is for the members of its school alone.
    assert [number for number in range(1, 4) if active_for(found, ANN, f"school-{number}", NOON)] == active
    assert people_of(found, "x.example", NOON) == ([ANN] if active else [])


def test_who_was_invited_anew_where_they_had_left_is_asked_about_too() -> None:
    again = "status: left}\n      ann2: {name: Ann, role: staff, email: a2@x.example, mobile: '+447700900002', matrix: "
    found = policy(f"{again}'{ANN}', status: active")

    assert restricted(found, ANN, NOON)
    assert active_for(found, ANN, "school-1", NOON)


def test_strangers_have_no_files() -> None:
    found = policy("status: active")

    assert restricted(found, EVE, NOON)
    assert not active_in(found, EVE, "school-1", NOON)
    assert not active_for(found, EVE, "school-1", NOON)


@pytest.mark.parametrize("organisation", [None, 7, ["school-1"], "school-9", ""])
def test_a_room_of_no_organisation_is_nobodys(organisation: object) -> None:
    found = policy("status: active", "status: suspended")

    assert not active_in(found, ANN, organisation, NOON)
    assert not active_for(found, ANN, organisation, NOON)


def test_staff_take_part_in_chats_of_their_network_while_they_are_active() -> None:
    lines = "networks: {oak: {name: Oak}}\n" + policy_text("status: active", "status: suspended", network="oak")
    found = policy_in(Files("policy.yaml", lines.encode(), {}))
    assert isinstance(found, Policy), found

    assert active_for(found, ANN, "school-1", NOON)
    # Who is suspended in a school is so in its chats, whatever they are elsewhere.
    assert not active_for(found, ANN, "school-2", NOON)
    assert active_for(found, ANN, "school-3", NOON)


def test_the_people_of_a_server_are_those_whose_matrix_ids_end_with_its_name() -> None:
    found = policy("status: active")

    assert people_of(found, "example", NOON) == []
    assert people_of(found, "x.example:8448", NOON) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"body": "Good morning", "n": [1, None, True]}, set()),
        ({"url": "mxc://x.example/a", "info": {"thumbnail_url": "mxc://x.example/b"}}, {"/a", "/b"}),
        ({"m.new_content": {"file": {"url": "mxc://x.example/a"}}}, {"/a"}),
        ({"itemtypes": [{"url": "mxc://x.example/a"}, {"url": "mxc://x.example/b"}]}, {"/a", "/b"}),
        ({"formatted_body": "<img src='mxc://x.example/a'> mxc://x.example/b?c"}, {"/a", "/b?c"}),
        ({"formatted_body": "<img src=mxc://x.example/a>", "body": "(mxc://x.example/b)"}, {"/a", "/b)"}),
    ],
)
def test_addresses_are_found_wherever_a_client_could_read_them(content: dict[str, object], said: set[str]) -> None:
    assert addresses(content) == {f"mxc://x.example{one}" for one in said}


@pytest.mark.parametrize("odd", ["MXC://x.example/a", "mxc:/x.example/a", "mxc://x.example", "mxc://x.example/a&#98;"])
def test_what_only_looks_like_an_address_is_taken_for_one(odd: str) -> None:
    assert addresses({"body": f"see {odd}"}) == {odd}
