"""When a search for people is one for the bot."""

import pytest

from policy.model import UserId
from policy.people_search import means_the_bot

OFFICE = UserId("@Office-Bot:school.example")


@pytest.mark.parametrize(
    "words", ["off", "Office", " office-bot ", "@office-bot", "@Office-Bot:school.example", "qwi", "QWIL", "@qwil"]
)
def test_it_is_found_by_its_matrix_id_and_by_the_name_it_is_shown_under(words: str) -> None:
    assert means_the_bot(words, OFFICE)


@pytest.mark.parametrize(
    "words", ["", "@", "@@", "of", "qw", "bot", "wil", "qwila", "qwil:school.example", "office bot"]
)
def test_other_words_are_for_people(words: str) -> None:
    assert not means_the_bot(words, OFFICE)


def test_a_short_matrix_id_is_typed_with_its_server() -> None:
    assert means_the_bot("@q:x", UserId("@q:x.example"))
    assert not means_the_bot("@q", UserId("@q:x.example"))
