"""What the page asks of everybody, whichever account they use: consent to the terms (TRM-1), and a number (INV-8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bridge.arrival.phone import phone_objection
from bridge.arrival.terms import Terms
from policy.model import Requirement


class Consent(NamedTuple):
    """What somebody ticked and typed."""

    versions: Mapping[str, str]
    """The version of each set of terms that was shown and ticked, by the name of its box."""
    mobile: str = ""


class Wanting(NamedTuple):
    """Something that is not as it has to be: the field, a key of the wording, and whose terms it is about."""

    field: str
    key: str
    organisation: str = ""


def wanting(consent: Consent, sets: Sequence[Terms], number: Requirement | None) -> Iterator[Wanting]:
    """Everything that stands in the way of this consent.

    What was ticked is what was read: a version that has been replaced since the page was opened does not count.
    """
    if key := phone_objection(consent.mobile, number):
        yield Wanting("mobile", key)
    for terms in sets:
        ticked = consent.versions.get(terms.field, "")
        if ticked != terms.version:
            yield Wanting(terms.field, "terms_changed" if ticked else "terms", terms.whose)


def agreed(consent: Consent, sets: Sequence[Terms]) -> list[Terms]:
    """The sets of terms as they were read, whatever has taken their place since."""
    return [terms._replace(version=consent.versions[terms.field]) for terms in sets if terms.field in consent.versions]
