"""Phone numbers that people give themselves when they accept (INV-8), in international form (INV-9).

The policy is not written: such a number is kept with the invitation, and one in the row goes before it.
"""

from __future__ import annotations

from bridge.arrival.invitation import Invitation
from policy.enrol import MOBILE
from policy.model import Membership, Organisation, Requirement

_FILLERS = str.maketrans("", "", " ().-/\u00a0\u2011")
"""What people put between the digits; no-break space and hyphen come with numbers that were copied."""


def asked_for(member: Membership, organisation: Organisation) -> Requirement | None:
    """Whether the page asks this person for a number: `asked` has to be given, `optional` may be; else not at all."""
    needed = organisation.mobile_staff if member.role == "staff" else organisation.mobile_client
    return None if member.mobile.strip() or needed == "required" else needed


def number_of(typed: str) -> str:
    """The number as it is kept, `+447700900010`; empty where it is none."""
    # The trunk zero of "+44 (0)7700 900010" is not dialled from abroad.
    plain = typed.replace("(0)", "").strip().translate(_FILLERS)
    return plain if MOBILE.fullmatch(plain) else ""


def phone_objection(typed: str, needed: Requirement | None) -> str:
    """Why this cannot be the number, else empty; a key of the wording."""
    if needed is None or (not typed.strip() and needed == "optional"):
        return ""
    if not typed.strip():
        return "mobile_missing"
    if number_of(typed):
        return ""
    return "mobile_form" if typed.strip().startswith("+") else "mobile_country"


def phone_of(member: Membership, invitation: Invitation | None) -> str:
    """Somebody's number, for the staff: that of their row, else the one they gave themselves, else none."""
    return member.mobile.strip() or (invitation.mobile if invitation is not None else "")
