"""Of which organisations somebody may still have files, as their memberships stand."""

import pytest

from policy.change import Files
from policy.downloads import restricted_to
from policy.edit import policy_in
from policy.model import Policy, UserId

ANN = UserId("@ann:x.example")
NOON = 1_800_000_000.0


def policy(*memberships: str) -> Policy:
    """Ann's memberships, one in each school, each with this standing."""
    schools = "".join(
        f"  school-{number}:\n    name: School {number}\n    people:\n"
        f"      head: {{name: Head, role: staff, admin: system, email: h@x.example, mobile: '+447700900000'}}\n"
        f"      ann: {{name: Ann, role: staff, email: a@x.example, mobile: '+447700900001', "
        f"matrix: '{ANN}', {standing}}}\n"
        for number, standing in enumerate(memberships, 1)
    )
    found = policy_in(Files("policy.yaml", f"organisations:\n{schools}".encode(), {}))
    assert isinstance(found, Policy), found
    return found


@pytest.mark.parametrize(
    ("memberships", "files_of"),
    [
        (["status: active"], None),
        (["status: active", "status: active"], None),
        (["status: active", "status: invited"], None),
        (["status: suspended"], set()),
        (["status: left"], set()),
        (["status: active, until: 2020-01-31"], set()),
        (["status: invited"], set()),
        (["status: suspended", "status: active"], {"school-2"}),
        (["status: active", "status: left"], {"school-1"}),
        (["status: active", "status: suspended", "status: active"], {"school-1", "school-3"}),
    ],
)
def test_files_are_those_of_the_organisations_in_which_somebody_is_active(
    memberships: list[str], files_of: set[str] | None
) -> None:
    assert restricted_to(policy(*memberships), ANN, NOON) == files_of


def test_who_was_invited_anew_where_they_had_left_is_restricted_in_nothing() -> None:
    again = "status: left}\n      ann2: {name: Ann, role: staff, email: a2@x.example, mobile: '+447700900002', matrix: "
    found = policy(f"{again}'{ANN}', status: active")

    assert restricted_to(found, ANN, NOON) is None


def test_strangers_and_everybody_while_there_is_no_policy_have_no_files() -> None:
    assert restricted_to(policy("status: active"), UserId("@eve:x.example"), NOON) == set()
    assert restricted_to(None, ANN, NOON) == set()
