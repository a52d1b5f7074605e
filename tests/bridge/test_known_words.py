"""The words that the module lets pass in a draft are those that the bot knows: one missing would publish the draft."""

from typing import Any, cast

from bridge.administration import Administration
from bridge.arrival.arrival_words import ArrivalWords
from bridge.arrival.broadcast_words import BroadcastWords
from bridge.commands import WORDS
from bridge.export_words import ExportWords
from bridge.import_words import Importer
from bridge.plan_words import plan_words
from bridge.why_words import why_words
from policy.words import KNOWN_WORDS

NONE = cast("Any", None)


def test_every_word_the_bot_answers_is_known_to_the_module_and_no_other() -> None:
    answered = {
        *WORDS,
        *why_words(NONE),
        *plan_words(NONE, NONE, NONE),
        *Administration(NONE).words(),
        *Importer(store=NONE, office=NONE, carrier=NONE).words(),
        *ExportWords(store=NONE, observer=NONE, jobs=None).words(),
        *BroadcastWords(store=NONE, office=NONE, carrier=NONE, broadcasts=NONE, wake=NONE).words(),
        *ArrivalWords(
            source=NONE, store=NONE, office=NONE, carrier=NONE, arrivals=NONE, ledger=NONE, terms=NONE, bounces=NONE
        ).words({}),
    }

    assert answered == KNOWN_WORDS
