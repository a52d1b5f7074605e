"""The JSON Schema of the policy file, for completion and checking in editors, from the tables that the parser reads by.

It is looser than the parser where a schema cannot say what the parser knows (whether a book exists, say), and refuses
nothing that is written plainly and that the parser takes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from policy.ask import AREAS, CHAT_MAY, CHAT_NEEDS, QUESTIONS
from policy.enrol import (
    ADMINS,
    EMAIL,
    IDENTIFIER,
    LEVELS,
    LONGEST_EMAIL,
    LONGEST_MATRIX,
    LONGEST_NAME,
    MATRIX,
    ROLES,
    STATUSES,
)
from policy.model import MAX_PARTICIPANTS, Invitations, Organisation
from policy.parse import (
    BOOK,
    COVER,
    DOMAIN,
    EXPECTATION,
    INVITATIONS,
    LANGUAGE,
    LEAST_PARTICIPANTS,
    LINK,
    LINK_DAYS,
    LONGEST_LINK,
    LONGEST_TEXT,
    MAIL_DAYS,
    NETWORK,
    ORGANISATION,
    REQUIREMENTS,
    ROOT,
    RULE,
    TERMS,
    WELCOME,
)
from policy.yaml_nodes import DAY, TRUTH
from policy.yaml_people import FIELDS

Shape = Mapping[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The dialect that the YAML language server speaks."""


def schema() -> dict[str, Any]:
    """The schema as JSON has it."""
    return {
        "$schema": DIALECT,
        "title": "qwil policy",
        "description": "Who belongs where, and so who may talk to whom.",
        **_mapping(ROOT, _ROOT, needed=("organisations",)),
    }


# What a value may be. A key that is left empty is as if it were not there, and a text may look like a number.


def _text(longest: int = LONGEST_NAME) -> Shape:
    return {"type": ["string", "number", "boolean", "null"], "maxLength": longest}


def _pattern(shape: re.Pattern[str], longest: int = LONGEST_NAME) -> Shape:
    return {"type": ["string", "number", "null"], "pattern": rf"^\s*(?:{_plain(shape)})?\s*$", "maxLength": longest}


def _plain(shape: re.Pattern[str]) -> str:
    """The expression without possessive quantifiers, which only make it fast and which JSON Schema does not know."""
    return re.sub(r"(?<=[+*?}])\+", "", shape.pattern)


def _word(words: Collection[str], default: str | None = None) -> Shape:
    shape: dict[str, Any] = {"enum": [*words, None]}
    return shape if default is None else {**shape, "default": default}


def _truth(default: bool) -> Shape:
    return {"enum": [True, False, *TRUTH, None], "default": default}


def _whole(least: int, most: int, default: int) -> Shape:
    return {"type": ["integer", "string", "null"], "minimum": least, "maximum": most, "default": default}


def _list(shape: Shape) -> Shape:
    return {"type": ["array", "null"], "items": shape}


def _named(shape: Shape) -> Shape:
    """A mapping from identifiers of the administrator's own choice."""
    names = {"pattern": f"^(?:{_plain(IDENTIFIER)})$"}
    return {"type": ["object", "null"], "propertyNames": names, "additionalProperties": shape}


def _mapping(keys: Sequence[str], shapes: Mapping[str, Shape], needed: Sequence[str] = ()) -> dict[str, Any]:
    """A mapping with the keys the parser knows; one that has no shape here is a mistake of ours (KeyError)."""
    shape: dict[str, Any] = {
        "type": ["object", "null"],
        "properties": {key: shapes[key] for key in keys},
        "additionalProperties": False,
    }
    return {**shape, "required": list(needed)} if needed else shape


def _said(shape: Shape, description: str) -> Shape:
    return {"description": description, **shape}


_IDENTIFIER = _pattern(IDENTIFIER)
_MOBILE: Shape = {"type": ["string", "number", "null"], "pattern": r"^\s*(?:\+[0-9 ().\-/]+)?$"}
_PERSON: Shape = {"type": "string", "description": "organisation/identifier, or a Matrix ID that is one person's alone"}

_PEOPLE: Mapping[str, Shape] = {
    "name": _said(_text(), "The whole name, or write first_name and last_name."),
    "first_name": _text(),
    "last_name": _text(),
    "role": _said(_word(ROLES), "Staff of the organisation, or a client who is served."),
    "job_title": _said(_text(), "Shown beside the name; for parents the child and the year."),
    "email": _pattern(EMAIL, LONGEST_EMAIL),
    "mobile": _said(_MOBILE, "With + and country code."),
    "matrix": _said(_pattern(MATRIX, LONGEST_MATRIX), 'The Matrix ID, like "@name:example.org", once there is one.'),
    "admin": _said(_word(ADMINS), "May manage everything, or people and books; staff only."),
    "review": _said(_word(LEVELS), "Whose chats may be found, read and exported; staff only."),
    "status": _word(STATUSES, "active"),
    "until": _said(_pattern(DAY), "The last day of the membership."),
    "unlisted": _said(_truth(False), "Not offered to the searches of other organisations."),
}

_BOOK: Mapping[str, Shape] = {
    "name": _text(),
    "description": _text(LONGEST_TEXT),
    "clients_see_each_other": _said(_truth(True), "Overrides what the organisation says."),
    "members": _said(_list(_IDENTIFIER), "Identifiers; besides those whose row in the spreadsheet names the book."),
}

_COVER: Mapping[str, Shape] = {
    "absent": _IDENTIFIER,
    "stand_in": _said(_IDENTIFIER, "Is in all books of the absent member on these days."),
    "from": _said(_pattern(DAY), "The first day."),
    "until": _said(_pattern(DAY), "The last day."),
}

_CHAT: Mapping[str, Shape] = {
    "organisation": _said(_text(), "The home organisation."),
    "participants": _list(_PERSON),
    "former": _list(_PERSON),
    "staff_only": _truth(False),
    "draft": _truth(False),
    "creator": _PERSON,
}

_ASK: Mapping[str, Shape] = {
    "do": {"enum": list(QUESTIONS)},
    "who": _PERSON,
    "whom": _PERSON,
    "with": _list(_PERSON),
    "text": _text(),
    "limit": {"type": ["integer", "string"], "minimum": 1},
    "organisation": _text(),
    "staff_only": _truth(False),
    "what": {"enum": list(AREAS)},
    "chat": _mapping((*CHAT_NEEDS, *CHAT_MAY), _CHAT, needed=CHAT_NEEDS),
    "on": _said({"type": "string"}, "A day or a moment, like 2026-12-01 or 2026-12-01T09:30:00Z."),
}


def _question() -> Shape:
    """Each `do` with the fields that it needs."""
    fields = dict.fromkeys(("do", "who", *(f for form in QUESTIONS.values() for f in (*form.needs, *form.may)), "on"))
    return {
        **_mapping(tuple(fields), _ASK, needed=("do", "who")),
        "allOf": [
            {"if": {"properties": {"do": {"const": do}}}, "then": {"required": list(form.needs)}}
            for do, form in QUESTIONS.items()
        ],
    }


_EXPECTATION: Mapping[str, Shape] = {
    "name": _text(),
    "ask": _question(),
    "allowed": {"enum": [True, False, *TRUTH]},
    "because": _said(_list(_pattern(RULE)), "Rules that have to be among the reasons, like BOOK-8."),
}

_USUAL = asdict(Organisation("", ""))

_INVITATIONS: Mapping[str, Shape] = {
    "link_days": _whole(*LINK_DAYS, Invitations().link_days),
    "mail_days": _whole(*MAIL_DAYS, Invitations().mail_days),
    "staff_domains": _said(_list(_pattern(DOMAIN)), "Staff need an address of one of these."),
}

_ORGANISATION: Mapping[str, Shape] = {
    "name": _text(),
    "network": _said(_text(), "Staff of organisations in one network can find each other and chat."),
    "max_participants": _whole(LEAST_PARTICIPANTS, MAX_PARTICIPANTS, MAX_PARTICIPANTS),
    "clients_see_each_other": _said(_truth(_USUAL["clients_see_each_other"]), "Clients of one book can chat."),
    "clients_may_export": _truth(_USUAL["clients_may_export"]),
    "mobile": {
        "description": "Whether everybody needs a mobile number here, or is asked for it on accepting: one word, or "
        "one for staff and one for clients.",
        "anyOf": [_word(REQUIREMENTS), _mapping(tuple(ROLES), dict.fromkeys(ROLES, _word(REQUIREMENTS)))],
    },
    "language": _said(_pattern(LANGUAGE), "Of mails and notices, like en or de-AT."),
    "logo": _said(_text(), "A picture beside this file."),
    "welcome": _mapping(WELCOME, {"text": _text(LONGEST_TEXT), "link": _pattern(LINK, LONGEST_LINK)}, needed=("text",)),
    "terms": _mapping(TERMS, {"version": _text(), "link": _pattern(LINK, LONGEST_LINK)}, needed=TERMS),
    "invitations": _mapping(INVITATIONS, _INVITATIONS),
    "default_book": _said(_text(), "Where imported people go whose row names no book."),
    "timezone": {**_text(), "default": _USUAL["timezone"], "description": "Like Europe/London."},
    "people": {
        "description": "A spreadsheet (CSV) beside this file, or the people themselves.",
        "anyOf": [
            {"type": ["string", "null"]},
            _named(_mapping(FIELDS, _PEOPLE, needed=("role",))),
        ],
    },
    "books": _named(_mapping(BOOK, _BOOK, needed=("name",))),
    "covers": _list(_mapping(COVER, _COVER, needed=COVER)),
}

_ROOT: Mapping[str, Shape] = {
    "networks": _named(_mapping(NETWORK, {"name": _text()}, needed=NETWORK)),
    "organisations": _named(_mapping(ORGANISATION, _ORGANISATION, needed=("name",))),
    "tests": _said(
        _list(_mapping(EXPECTATION, _EXPECTATION, needed=("name", "ask", "allowed"))),
        "Your own expectations, run by qwil test and before every apply.",
    ),
}
