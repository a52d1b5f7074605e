"""Whom the words of a command mean: what is not looked up."""

from policy.model import PersonId, Policy
from policy.naming import people_named, tokens
from policy.parse import parse

POLICY = """
organisations:
  hill:
    name: Hill
    mobile: optional
    people:
      ann: {name: Ann, role: staff, email: a@x.example, admin: system}
      tom: {name: Tom, role: staff, matrix: "@tom:hs", email: t@x.example}
    books: {}
"""


def policy() -> Policy:
    parsed = parse(POLICY, dict[str, str]().__getitem__)
    assert isinstance(parsed, Policy), parsed
    return parsed


def test_a_message_full_of_names_is_answered_in_one_sentence_without_looking_any_up() -> None:
    found = people_named(policy(), [policy().people[PersonId("hill/ann")]], tokens("a," * 30_000), 0.0)

    assert found.users == ()
    assert len(found.mistakes) == 1
    assert "Name fewer people" in found.mistakes[0]


def test_a_full_chat_can_be_named_at_once() -> None:
    found = people_named(policy(), [policy().people[PersonId("hill/ann")]], ["Tom"] * 100, 0.0)

    assert found.users == ("@tom:hs",)
