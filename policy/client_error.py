"""A refusal as a client is told it: HTTP 403, M_FORBIDDEN, our sentence, and the ids of the rules that object."""

from __future__ import annotations

from synapse.api.errors import SynapseError

from policy.decision import Objection
from policy.judge import RULES, Refused, refused


def client_error(refusal: Refused | Objection) -> SynapseError:
    """The error to raise inside Synapse."""
    told = refused(refusal) if isinstance(refusal, Objection) else refusal
    return SynapseError(403, told.text, "M_FORBIDDEN", {RULES: list(told.rules)})


def rules_told(error: SynapseError) -> list[str]:
    """The rule ids that an error carries; none where it is not one of ours."""
    found: list[str] = getattr(error, "_additional_fields", {}).get(RULES) or []
    return found
