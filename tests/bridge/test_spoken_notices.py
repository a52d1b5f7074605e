"""What the bot says when people arrive and when terms change, in the language of the organisation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast
from unittest.mock import AsyncMock

import pytest

from bridge.arrival.terms import Terms, TermsKept, notice
from bridge.arrival.welcome import announcement, greeting
from bridge.arrival.words import languages, wording_of
from bridge.direct import Direct
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import Membership, Organisation, PersonId, UserId
from tests.bridge.test_acceptance import POLICY, Prompt, School
from tests.bridge.test_consent import POLICY as TWO_SCHOOLS

SCHOOL = Terms("terms", "Hillside Primary", "2", "https://hillside.example/terms")
PLATFORM = Terms("platform", "Oakfield Chat", "p1", "https://oakfield.example/terms")
CHAN = Membership(PersonId("h/chan"), "h", "chan", "Pat Chan", "client", None, frozenset(), "active", job_title="Kim")
WELCOMES = {
    "de": "Willkommen bei Hillside, Pat. Ich bin der Bot von Hillside: Schreiben Sie „help“",
    "en": "Welcome to Hillside, Pat. I am the bot of Hillside: write “help”",
    "es": "Le damos la bienvenida a Hillside, Pat. Soy el bot de Hillside: escriba «help»",
    "fr": "Bienvenue chez Hillside, Pat. Je suis le robot de Hillside : écrivez « help »",
    "it": "Pat, Hillside Le dà il benvenuto. Sono il bot di Hillside: scriva «help»",
    "nl": "Welkom bij Hillside, Pat. Ik ben de bot van Hillside: schrijf “help”",
    "pl": "Pat, Hillside serdecznie wita. Jestem botem organizacji Hillside: proszę napisać „help”",
}
TYPED = {"bot_welcome": "help", "bot_declined": "resend", "bot_terms_read": "accept", "bot_terms_accept": "accept"}


@pytest.mark.parametrize("language", languages())
def test_who_has_no_welcome_of_their_organisation_is_welcomed_in_its_language(language: str) -> None:
    assert greeting(Organisation("h", "Hillside", language=f"{language}-XX"), CHAN).startswith(WELCOMES[language])


def test_whose_first_name_is_not_known_is_welcomed_by_their_name() -> None:
    said = greeting(Organisation("h", "Hillside"), CHAN._replace(last_name="Pat Chan"))

    assert said.startswith("Welcome to Hillside, Pat Chan.")


def test_staff_are_told_of_a_newcomer_in_the_language_of_their_school_and_braces_in_names_stay() -> None:
    hillside = Organisation("h", "Hillside {name}", language="de")

    assert announcement(hillside, CHAN, "+447700900010") == (
        "Pat Chan (Kim) ist jetzt bei Hillside {name}: Sie können nun miteinander chatten. Telefon: +447700900010."
    )
    assert announcement(replace(hillside, language="en"), CHAN._replace(name="Pat {x}"), "") == (
        "Pat {x} (Kim) has joined Hillside {name}: you can chat now."
    )


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize(("key", "typed"), TYPED.items())
def test_what_is_to_be_typed_is_the_same_in_every_language(language: str, key: str, typed: str) -> None:
    names = dict.fromkeys(("organisation", "first_name", "name", "person", "links"), "x")

    assert typed in wording_of(language)(key, **names)


def test_the_notice_of_new_terms_says_where_to_read_and_what_to_write() -> None:
    english = wording_of("en")

    assert notice(english, [SCHOOL]) == (
        "Hillside Primary has new terms. Read them: https://hillside.example/terms Then write “accept” to me, in our "
        "direct chat, to go on."
    )
    assert notice(english, [PLATFORM._replace(link=""), SCHOOL._replace(link="")]) == (
        "Oakfield Chat and Hillside Primary have new terms. Write “accept” to me, in our direct chat, to go on."
    )
    assert notice(wording_of("de"), [PLATFORM, SCHOOL]) == (
        "Oakfield Chat und Hillside Primary haben neue Bedingungen. Sie stehen hier: https://oakfield.example/terms "
        "und https://hillside.example/terms Schreiben Sie mir danach in unserem direkten Chat „accept“, "
        "um fortzufahren."
    )


async def test_each_is_told_of_new_terms_in_the_language_of_their_own_school(tmp_path: Path, store: Store) -> None:
    file = tmp_path / "policy.yaml"
    text = TWO_SCHOOLS % {"version": "1", "more": ""}
    text = text.replace("Hillside Primary\n", "Hillside Primary\n    language: de\n")
    file.write_text(text.replace("Riverside Academy\n", "Riverside Academy\n    language: pl\n"))
    source, told = PolicySource(file), AsyncMock(spec=Direct)
    source.load()
    terms = TermsKept(source=source, store=store, direct=cast(Direct, told), platform=PLATFORM)

    await terms.work()

    said = {call.args[0]: call.args[1] for call in told.tell.await_args_list}
    assert said["@chan:qwil.test"].startswith("Oakfield Chat hat neue Bedingungen.")
    # Helen Head belongs to both, to Hillside first.
    assert said["@head:qwil.test"].startswith("Oakfield Chat hat neue Bedingungen.")
    assert said["@ode:qwil.test"].startswith("Oakfield Chat ma nowy regulamin.")
    chan, ode = UserId("@chan:qwil.test"), UserId("@ode:qwil.test")
    assert await terms.accept(chan, source.policy.accounts[chan]) == (
        "Sie haben die Bedingungen von Oakfield Chat angenommen. Vielen Dank."
    )
    assert await terms.accept(chan, source.policy.accounts[chan]) == (
        "Es gibt keine neuen Bedingungen, die auf Sie warten."
    )
    assert await terms.accept(ode, source.policy.accounts[ode]) == "Regulamin przyjęty (Oakfield Chat). Dziękujemy."


async def test_administrators_are_told_in_their_schools_language_who_has_declined(tmp_path: Path, store: Store) -> None:
    school = School(tmp_path, store)
    school.file.write_text(POLICY.replace("Hillside Primary\n", "Hillside Primary\n    language: nl\n"))
    await school.invite("early")
    acceptance: Prompt = await school.started()

    await acceptance.decline("early")

    told = cast(AsyncMock, acceptance._direct.tell_admins).await_args
    assert told is not None
    assert told.args == (
        "hillside", "Early (hillside/early) heeft de uitnodiging afgeslagen. “resend” biedt die opnieuw aan."
    )  # fmt: skip
