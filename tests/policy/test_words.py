"""Which first words are commands to the bot."""

import pytest

from policy.words import KNOWN_WORDS, command_word, is_command


@pytest.mark.parametrize("word", sorted(KNOWN_WORDS))
def test_every_known_word_is_a_command_behind_an_exclamation_mark(word: str) -> None:
    assert command_word(f"!{word}") == word
    assert command_word(f"  !{word.upper()} something") == word
    assert command_word(word) is None
    assert command_word(f"!{word}x") is None


@pytest.mark.parametrize("text", ["", "!", "!!", "! add", "!hello", "add!", "say !add", "!add,", "!\nadd"])
def test_anything_else_is_a_message(text: str) -> None:
    assert command_word(text) is None


def test_only_texts_are_commands() -> None:
    assert is_command({"body": "!help"})
    for body in (None, 7, ["!help"], {"a": "!help"}):
        assert not is_command({"body": body})
    assert not is_command({})
