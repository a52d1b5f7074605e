"""Every mistake a policy can hold: where it is said to be, and in which words."""

from __future__ import annotations

import pytest

from policy.mistake import Mistakes
from policy.model import Policy
from policy.parse import parse

GOOD = """\
networks:
  oakfield: {name: Oakfield Learning Trust}
organisations:
  hillside:
    name: Hillside Primary
    network: oakfield
    people: hillside.csv
    books:
      year-1:
        name: Year 1
        members: [head, t.okafor, p.chan]
      violin:
        name: Violin
        members: [m.lowe, p.chan]
    covers:
      - {absent: t.okafor, stand_in: m.lowe, from: 2026-12-01, until: 2026-12-19}
  riverside:
    name: Riverside Academy
    people:
      b.ode:
        name: Ben Ode
        role: staff
        email: b.ode@riverside.example
        mobile: "+44 7700 900010"
        admin: system
tests:
  - name: parents meet their teacher
    ask: {do: see, who: hillside/p.chan, whom: hillside/t.okafor}
    allowed: true
"""
PEOPLE = """\
identifier,first_name,last_name,role,email,mobile,matrix,contact_books,admin,review,status,until,unlisted
head,Ada,Hill,staff,head@hillside.example,+44 7700 900001,@head:example.org,,system,all,active,,false
t.okafor,Tunde,Okafor,staff,t.okafor@hillside.example,+44 7700 900002,,,,,,,
m.lowe,Mia,Lowe,staff,m.lowe@hillside.example,+44 7700 900003,@m.lowe:example.org,,,,,2027-07-31,TRUE
p.chan,Pat,Chan,client,p.chan@mail.example,+44 7700 900004,,,,,,,
p.north,Nora,North,client,p.north@mail.example,+44 7700 900005,@p.north:example.org,year-1;violin,,,,,
"""


def mistakes(text: str | bytes = GOOD, people: str | bytes = PEOPLE, before: Policy | None = None) -> list[str]:
    """What is said about a policy and its spreadsheet."""
    data = people.encode() if isinstance(people, str) else people
    result = parse(text, {"hillside.csv": data}.__getitem__, before=before)
    return [] if isinstance(result, Policy) else [str(mistake) for mistake in result]


def changed(text: str, *replacements: tuple[str, str]) -> str:
    for old, new in replacements:
        assert text.count(old) >= 1, f"the example no longer holds {old!r}"
        text = text.replace(old, new, 1)
    return text


def test_the_example_of_these_tests_is_without_mistakes() -> None:
    assert mistakes() == []


def test_a_book_of_clients_without_active_staff_names_who_has_yet_to_accept() -> None:
    invited = changed(PEOPLE, ("@m.lowe:example.org,,,,,", "@m.lowe:example.org,,,,invited,"))

    assert (
        "policy.yaml:12:7: book violin has clients but no active staff (Mia Lowe has to accept the invitation): "
        "add one of the staff (BOOK-4, BOOK-11)"
    ) in mistakes(people=invited)


IN_THE_POLICY = {
    "unknown key of an organisation": (
        ("    books:", "    boks: {}\n    books:"),
        'policy.yaml:8:5: unknown key of organisation hillside "boks" — did you mean "books"?',
    ),
    "unknown key at the top": (
        ("tests:", "test:"),
        'policy.yaml:26:1: unknown key of the policy "test" — did you mean "tests"?',
    ),
    "key twice": (
        ("  riverside:\n", "  hillside:\n"),
        'policy.yaml:17:3: "hillside" stands twice in organisations; the first is in line 4',
    ),
    "unknown network": (
        ("network: oakfield", "network: oakfeild"),
        'policy.yaml:6:14: unknown network "oakfeild" — did you mean "oakfield"?',
    ),
    "organisation without a name": (
        ("    name: Hillside Primary\n", ""),
        "policy.yaml:4:3: organisation hillside has no name",
    ),
    "identifier with capital letters": (
        ("    covers:", "      Choir: {name: Choir}\n    covers:"),
        'policy.yaml:15:7: "Choir" is not an identifier: use a-z 0-9 - . _ only',
    ),
    "unknown member": (
        ("[m.lowe, p.chan]", "[m.low, p.chan]"),
        'policy.yaml:14:19: unknown person "m.low" — did you mean "m.lowe"?',
    ),
    "member twice": (
        ("[m.lowe, p.chan]", "[m.lowe, p.chan, p.chan]"),
        'policy.yaml:14:35: "p.chan" stands in book violin twice (IMP-5)',
    ),
    "book of clients alone": (
        ("[m.lowe, p.chan]", "[p.chan]"),
        "policy.yaml:12:7: book violin has clients but no active staff: add one of the staff (BOOK-4, BOOK-11)",
    ),
    "limit above the hundred": (
        ("    network: oakfield\n", "    network: oakfield\n    max_participants: 101\n"),
        'policy.yaml:7:23: max_participants is a whole number from 2 to 100, not "101"',
    ),
    "limit of one": (
        ("    network: oakfield\n", "    network: oakfield\n    max_participants: 1\n"),
        'policy.yaml:7:23: max_participants is a whole number from 2 to 100, not "1"',
    ),
    "a number of YAML 1.1": (
        ("    network: oakfield\n", "    network: oakfield\n    max_participants: 0100\n"),
        'policy.yaml:7:23: max_participants is a whole number from 2 to 100, not "0100"',
    ),
    "yes for true": (
        ("    network: oakfield\n", "    network: oakfield\n    clients_see_each_other: yes\n"),
        'policy.yaml:7:29: clients_see_each_other is true or false, not "yes"',
    ),
    "unknown time zone": (
        ("    network: oakfield\n", "    network: oakfield\n    timezone: Europe/Londn\n"),
        'policy.yaml:7:15: unknown timezone "Europe/Londn" — did you mean "Europe/London"?',
    ),
    "unknown default book": (
        ("    network: oakfield\n", "    network: oakfield\n    default_book: yaer-1\n"),
        'policy.yaml:7:19: unknown book "yaer-1" — did you mean "year-1"?',
    ),
    "unknown requirement": (
        ("    network: oakfield\n", "    network: oakfield\n    mobile: {staff: optoinal}\n"),
        'policy.yaml:7:21: unknown mobile "optoinal" — did you mean "optional"?',
    ),
    "language": (
        ("    network: oakfield\n", "    network: oakfield\n    language: British English\n"),
        'policy.yaml:7:15: language "British English" is not a language code like en or de-AT',
    ),
    "link": (
        ("    network: oakfield\n", "    network: oakfield\n    terms: {version: '1', link: 'javascript:1'}\n"),
        'policy.yaml:7:33: link "javascript:1" is not a link that begins with https://',
    ),
    "terms without a version": (
        ("    network: oakfield\n", "    network: oakfield\n    terms: {link: 'https://hillside.example'}\n"),
        "policy.yaml:7:12: terms have no version",
    ),
    "welcome without a text": (
        ("    network: oakfield\n", "    network: oakfield\n    welcome: {link: 'https://hillside.example'}\n"),
        "policy.yaml:7:14: welcome has no text",
    ),
    "mails for longer than thirty days": (
        ("    network: oakfield\n", "    network: oakfield\n    invitations: {mail_days: 31}\n"),
        'policy.yaml:7:30: mail_days is a whole number from 0 to 30, not "31"',
    ),
    "logo elsewhere": (
        ("    network: oakfield\n", "    network: oakfield\n    logo: ../logo.png\n"),
        'policy.yaml:7:11: "../logo.png" leads away from the policy: files lie beside it',
    ),
    "people elsewhere": (
        ("hillside.csv", "../hillside.csv"),
        'policy.yaml:7:13: "../hillside.csv" leads away from the policy: files lie beside it',
    ),
    "people at an absolute path": (
        ("hillside.csv", "/etc/passwd"),
        'policy.yaml:7:13: "/etc/passwd" leads away from the policy: files lie beside it',
    ),
    "people nowhere": (
        ("hillside.csv", "hilside.csv"),
        'policy.yaml:7:13: cannot read "hilside.csv": there is no such file beside the policy',
    ),
    "cover of a client": (
        ("absent: t.okafor", "absent: p.chan"),
        "policy.yaml:16:18: hillside/p.chan is a client: only staff are covered, and only by staff",
    ),
    "cover by oneself": (
        ("stand_in: m.lowe", "stand_in: t.okafor"),
        "policy.yaml:16:38: hillside/t.okafor cannot stand in for themselves",
    ),
    "cover that ends before it begins": (
        ("until: 2026-12-19", "until: 2026-11-30"),
        "policy.yaml:16:71: the cover ends on 2026-11-30, before it begins on 2026-12-01",
    ),
    "cover without an end": (
        (", until: 2026-12-19", ""),
        "policy.yaml:16:9: the cover has no until: write absent, stand_in, from and until",
    ),
    "cover of somebody unknown": (
        ("absent: t.okafor", "absent: t.okafr"),
        'policy.yaml:16:18: unknown person "t.okafr" — did you mean "t.okafor"?',
    ),
    "cover on a day that no calendar has": (
        ("from: 2026-12-01", "from: 2026-11-31"),
        "policy.yaml:16:52: from names a day that there is not: there is no 2026-11-31",
    ),
    "cover that overlaps itself": (
        (
            "2026-12-19}\n",
            "2026-12-19}\n      - {absent: t.okafor, stand_in: m.lowe, from: 2026-12-19, until: 2027-01-02}\n",
        ),
        "policy.yaml:17:9: hillside/m.lowe covers for hillside/t.okafor from 2026-12-01 to 2026-12-19 already: "
        "choose other days, or change those of the other cover",
    ),
    "unknown key of a person": (
        ("        admin: system\n", "        admin: system\n        phone: 1\n"),
        'policy.yaml:26:9: unknown key of riverside/b.ode "phone" — known: name, first_name, last_name, role, '
        "job_title, email, mobile, matrix, admin, review, status, until, unlisted",
    ),
    "no system admin": (
        ("        admin: system\n", "        admin: user\n"),
        "policy.yaml:17:3: organisation riverside has no active system admin: "
        "give one of its staff admin: system (ROLE-2)",
    ),
    "a suspended system admin": (
        ("        admin: system\n", "        admin: system\n        status: suspended\n"),
        "policy.yaml:17:3: organisation riverside has no active system admin: "
        "give one of its staff admin: system (ROLE-2)",
    ),
    "no mobile number": (
        ('        mobile: "+44 7700 900010"\n', ""),
        "policy.yaml:20:7: riverside/b.ode has no mobile: everybody who has not left needs a mobile number (INV-2)",
    ),
    "a test without an expectation": (
        ("    allowed: true\n", ""),
        "policy.yaml:27:5: the test has no allowed",
    ),
    "a rule that is none": (
        ("    allowed: true\n", "    allowed: false\n    because: [book 8]\n"),
        'policy.yaml:30:15: rule "book 8" is not the id of a rule, like BOOK-8',
    ),
    "a list for a text": (
        ("name: Violin", "name: [Violin]"),
        "policy.yaml:13:15: name has to be a text, not a list",
    ),
    "a name of 501 characters": (
        ("name: Violin", "name: " + "V" * 501),
        "policy.yaml:13:15: name has 501 characters, 500 at most are allowed",
    ),
    "a bracket never closed": (
        ("[m.lowe, p.chan]", "[m.lowe, p.chan"),
        "policy.yaml:14:18: the bracket opened here is not closed, or a comma is missing between two values",
    ),
    "a quotation mark never closed": (
        ('"+44 7700 900010"', '"+44 7700 900010'),
        "policy.yaml:24:17: the quotation mark opened here is never closed",
    ),
    "a tab": (
        ("      violin:", "\t  violin:"),
        "policy.yaml:12:1: a tab cannot indent in YAML: use spaces",
    ),
    "a space that binds, as web pages have it": (
        ("      violin:", "   \u00a0  violin:"),
        "policy.yaml:12:4: a non-breaking space cannot indent in YAML: use ordinary spaces",
    ),
    "quotation marks of a word processor": (
        ("      violin:\n        name: Violin\n", "      violin:\n        {name: “Violin: one to one”}\n"),
        'policy.yaml:13:16: curly quotation marks mean nothing in YAML: write straight ones (")',
    ),
    "a Matrix ID without quotation marks": (
        ("        admin: system\n", "        admin: system\n        matrix: @b.ode:example.org\n"),
        'policy.yaml:26:17: a value cannot begin with "@": put it in quotation marks',
    ),
    "a colon in a text": (
        ("name: Violin", "name: Violin: one to one"),
        "policy.yaml:13:21: a colon does not fit here: put the value in quotation marks, look at the indentation, or "
        "give the line above its colon with a space after it",
    ),
    "a tab after a space": (
        ("        name: Violin\n", "        name: Violin\n\t\tdescription: one to one\n"),
        "policy.yaml:14:1: a tab cannot indent in YAML: use spaces",
    ),
    "a line that is no key and value": (
        ("    name: Hillside Primary\n", "    name: Hillside Primary\n<<<<<<< HEAD\n"),
        "policy.yaml:7:12: a line without a colon stands here or above: write key: value, with a space after the colon",
    ),
    "two members without a comma": (
        ("members: [m.lowe, p.chan]", "members: [m.lowe p.chan]"),
        'policy.yaml:14:19: "m.lowe p.chan" is 2 people: put a comma between them',
    ),
    "the city alone for a timezone": (
        ("    network: oakfield\n", "    network: oakfield\n    timezone: London\n"),
        'policy.yaml:7:15: unknown timezone "London" — did you mean "Europe/London"?',
    ),
    "no timezone at all": (
        ("    network: oakfield\n", "    network: oakfield\n    timezone: BST7QX\n"),
        'policy.yaml:7:15: unknown timezone "BST7QX": write it like Europe/London',
    ),
    "a tag": (
        ("name: Violin", "name: !!python/object Violin"),
        'policy.yaml:13:15: the tag "tag:yaml.org,2002:python/object" has no meaning in a policy: take it out',
    ),
    "an alias of nothing": (
        ("name: Violin", "name: *violin"),
        "policy.yaml:13:15: nothing above is marked &violin, so *violin is nothing",
    ),
    "a second document": (
        ("tests:", "---\ntests:"),
        "policy.yaml:26:1: a second document begins here: a policy is one, so take out the line ---",
    ),
}


@pytest.mark.parametrize(("replacement", "said"), IN_THE_POLICY.values(), ids=IN_THE_POLICY)
def test_a_mistake_in_the_policy_is_said_once_and_where_it_stands(replacement: tuple[str, str], said: str) -> None:
    assert mistakes(changed(GOOD, replacement)) == [said]


IN_THE_SPREADSHEET = {
    "unknown heading": (
        ("first_name", "firstname"),
        'hillside.csv:1:2: unknown heading "firstname" — did you mean "first_name"?',
    ),
    "heading twice": (
        ("unlisted", "until"),
        'hillside.csv:1:13: the heading "until" stands twice; the first is column 12',
    ),
    "heading missing": (
        ("role,", ""),
        'hillside.csv:1:1: there is no column "role": every person needs one',
    ),
    "row too short": (
        ("p.chan,Pat,Chan,client,p.chan@mail.example,+44 7700 900004,,,,,,,", "p.chan,Pat,Chan"),
        "hillside.csv:5:3: the row is too short: 3 cells under 13 headings",
    ),
    "row too long": (
        ("Chan,client", "Chan,Esq.,client"),
        "hillside.csv:5:14: the row is too long: 14 cells under 13 headings",
    ),
    "identifier twice": (
        ("p.north,Nora", "p.chan,Nora"),
        'hillside.csv:6:1: "p.chan" stands here twice; the first is in row 5',
    ),
    "identifier with a space": (
        ("p.north,Nora", "p north,Nora"),
        'hillside.csv:6:1: "p north" is not an identifier: use a-z 0-9 - . _ only',
    ),
    "no identifier": (
        ("p.north,Nora", ",Nora"),
        "hillside.csv:6:1: this person has no identifier: use a-z 0-9 - . _",
    ),
    "no name": (
        ("p.north,Nora,North", "p.north,,"),
        "hillside.csv:6:2: hillside/p.north has no name (INV-2)",
    ),
    "unknown role": (
        ("Chan,client", "Chan,cleint"),
        'hillside.csv:5:4: unknown role "cleint" — did you mean "client"?',
    ),
    "no role": (
        ("Chan,client", "Chan,"),
        "hillside.csv:5:4: everybody has a role: staff or client",
    ),
    "unknown status": (
        (",active,,false", ",activ,,false"),
        'hillside.csv:2:11: unknown status "activ" — did you mean "active"?',
    ),
    "unknown book": (
        ("year-1;violin", "yaer-1;violin"),
        'hillside.csv:6:8: unknown book "yaer-1" — did you mean "year-1"?',
    ),
    "books with a comma between them": (
        (",year-1;violin,", ',"year-1, violin",'),
        'hillside.csv:6:8: "year-1, violin" are 2 books — put a semicolon between them',
    ),
    "a column without a heading": (
        ("until,unlisted", "until,"),
        "hillside.csv:1:13: column 13 has no heading: give it one, or delete the column",
    ),
    "a title above the headings": (
        ("identifier,first_name", "People of Hillside,,\nidentifier,first_name"),
        "hillside.csv:1:1: the first row has to hold the headings, with a comma or semicolon between them: identifier, "
        "first_name, last_name, role, job_title, email, mobile, matrix, contact_books, admin, review, status, until, "
        "unlisted",
    ),
    "an e-mail address with a character nobody sees": (
        ("p.north@mail.example", "\u200bp.north@mail.example"),
        'hillside.csv:6:5: "\\u200bp.north@mail.example" is not an e-mail address',
    ),
    "book twice": (
        ("year-1;violin", "year-1;year-1"),
        'hillside.csv:6:8: book "year-1" stands here twice (IMP-5)',
    ),
    "client without a book": (
        ("year-1;violin", ""),
        "hillside.csv:6:8: hillside/p.north is a client and in no book: every client needs one (BOOK-3)",
    ),
    "client as an admin": (
        ("year-1;violin,,", "year-1;violin,user,"),
        "hillside.csv:6:9: hillside/p.north is a client: only staff can be admins (ROLE-1)",
    ),
    "client as a reviewer": (
        ("year-1;violin,,", "year-1;violin,,all"),
        "hillside.csv:6:10: hillside/p.north is a client: only staff can be reviewers (REV-2)",
    ),
    "unknown level": (
        (",system,all", ",system,al"),
        'hillside.csv:2:10: unknown review "al" — did you mean "all"?',
    ),
    "no e-mail": (
        ("p.north@mail.example", ""),
        "hillside.csv:6:5: hillside/p.north has no email: everybody who has not left needs an e-mail address (INV-2)",
    ),
    "half an e-mail at the end": (
        ("p.north@mail.example", "p.north@"),
        'hillside.csv:6:5: "p.north@" is not an e-mail address',
    ),
    "half a Matrix ID at the end": (
        ("@p.north:example.org", "@p.north:"),
        'hillside.csv:6:7: "@p.north:" is not a Matrix ID like @name:example.org',
    ),
    "e-mail of another": (
        ("p.north@mail.example", "P.Chan@Mail.example"),
        'hillside.csv:6:5: e-mail "p.chan@mail.example" is used by hillside/p.chan already: '
        "an address belongs to one person in an organisation (INV-11)",
    ),
    "no e-mail address": (
        ("p.north@mail.example", "p.north"),
        'hillside.csv:6:5: "p.north" is not an e-mail address',
    ),
    "e-mail too long": (
        ("p.north@mail.example", "p" * 308 + "@mail.example"),
        "hillside.csv:6:5: email has 321 characters, 320 at most are allowed",
    ),
    "national phone number": (
        ("+44 7700 900005", "07700 900005"),
        'hillside.csv:6:6: "07700 900005" is not a phone number with + and country code, like +44 7700 900010 (INV-9)',
    ),
    "no phone number": (
        ("+44 7700 900005", "+44 ask office"),
        'hillside.csv:6:6: "+44 ask office" is not a phone number with + and country code, '
        "like +44 7700 900010 (INV-9)",
    ),
    "malformed Matrix ID": (
        ("@p.north:example.org", "p.north:example.org"),
        'hillside.csv:6:7: "p.north:example.org" is not a Matrix ID like @name:example.org',
    ),
    "Matrix ID of another": (
        ("@p.north:example.org", "@head:example.org"),
        "hillside.csv:6:7: @head:example.org is hillside/head already: one of the two must have left (INV-12)",
    ),
    "a day in another order": (
        ("2027-07-31", "31/07/2027"),
        'hillside.csv:4:12: until is a day like 2026-12-31 (year-month-day), not "31/07/2027"',
    ),
    "neither true nor false": (
        ("TRUE", "ja"),
        'hillside.csv:4:13: unlisted is true or false, not "ja"',
    ),
    "first name of 501 characters": (
        ("Nora", "N" * 501),
        "hillside.csv:6:2: first_name has 501 characters, 500 at most are allowed",
    ),
    "line break in a name": (
        ("Nora", '"No\nra"'),
        'hillside.csv:6:2: first_name holds a control character or a line break: "No\\u000ara"',
    ),
    "quotation mark never closed": (
        ("Nora", '"Nora'),
        "hillside.csv:6:1: a quotation mark opened in this row is never closed",
    ),
    "quotation mark inside": (
        ("Nora", '"No"ra'),
        'hillside.csv:6:1: a quotation mark stands inside a cell in this row: write it twice ("")',
    ),
}


@pytest.mark.parametrize(("replacement", "said"), IN_THE_SPREADSHEET.values(), ids=IN_THE_SPREADSHEET)
def test_a_mistake_in_the_spreadsheet_is_said_once_with_row_and_column(replacement: tuple[str, str], said: str) -> None:
    assert mistakes(people=changed(PEOPLE, replacement)) == [said]


def test_all_mistakes_of_all_files_are_reported_at_once_in_their_order() -> None:
    text = changed(GOOD, ("network: oakfield", "network: oakfeild"), ("[m.lowe, p.chan]", "[m.lowe, p.chn]"))
    people = changed(PEOPLE, ("TRUE", "ja"), ("Chan,client", "Chan,cleint"), ("+44 7700 900001", "0770"))

    assert [said.split(": ")[0] for said in mistakes(text, people)] == [
        *("policy.yaml:6:14", "policy.yaml:14:27"),
        *("hillside.csv:2:6", "hillside.csv:4:13", "hillside.csv:5:4"),
    ]


def test_empty_rows_hold_nobody_and_count_all_the_same() -> None:
    people = changed(PEOPLE, ("m.lowe,Mia", "\n,,,,,,,,,,,,\nm.lowe,Mia"), ("+44 7700 900005", "0770"), ("TRUE", "ja"))

    assert [said.split(": ")[0] for said in mistakes(people=people)] == ["hillside.csv:6:13", "hillside.csv:8:6"]


def test_mistakes_keep_their_rows_between_any_number_of_empty_ones() -> None:
    head, *rows = changed(PEOPLE, ("+44 7700 900001", "1"), ("+44 7700 900003", "2"), ("+44 7700 900005", "3")).split(
        "\n"
    )
    people = "\n".join([head, "", *(f"{row}\n\n" for row in rows)])

    assert [said.split(": ")[0] for said in mistakes(people=people)] == [
        *("hillside.csv:3:6", "hillside.csv:9:6", "hillside.csv:15:6"),
    ]


def test_a_column_that_everybody_needs_is_missed_once() -> None:
    people = "identifier,first_name,role,admin\nhead,Ada,staff,system\noffice,Olga,staff,\n"
    text = "organisations:\n  hillside: {name: Hillside, people: hillside.csv}\n"

    assert mistakes(text, people) == [
        'hillside.csv:1:1: there is no column "email": everybody who has not left needs an e-mail address (INV-2)',
        'hillside.csv:1:1: there is no column "mobile": everybody who has not left needs a mobile number (INV-2)',
    ]


def test_staff_need_an_address_of_the_domains_that_are_set() -> None:
    text = changed(
        GOOD,
        ("    network: oakfield\n", "    network: oakfield\n    invitations: {staff_domains: [hillside.example]}\n"),
    )
    people = changed(PEOPLE, ("m.lowe@hillside.example", "m.lowe@mail.example"))

    assert mistakes(text, people) == [
        'hillside.csv:4:5: "m.lowe@mail.example" is not an address of hillside.example, as staff need one (INV-13)'
    ]


def test_windows_1252_is_named_as_what_it_probably_is() -> None:
    people = changed(PEOPLE, ("Nora,North", "Zoé,North")).encode("cp1252")

    assert mistakes(people=people) == [
        'hillside.csv:6:2: "é" is not written in UTF-8 but probably in Windows-1252: save the file as "CSV UTF-8"'
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04rest", "hillside.csv:1:1: this is an Excel file: save it as CSV (UTF-8)"),
        (PEOPLE.encode("utf-16"), "hillside.csv:1:1: this is UTF-16 text: save it as CSV (UTF-8)"),
        (b"", "hillside.csv:1:1: the file is empty: its first row has to hold the headings"),
    ],
    ids=["excel", "utf-16", "nothing"],
)
def test_a_file_that_is_no_csv_is_told_what_to_do(data: bytes, said: str) -> None:
    assert mistakes(people=data) == [said]


@pytest.mark.parametrize("text", ["", "\n# nothing yet\n", "~"])
def test_an_empty_file_is_no_policy(text: str) -> None:
    assert mistakes(text) == ["policy.yaml:1:1: the file is empty: a policy has at least organisations"]


def test_a_file_that_ends_after_its_first_words_is_no_policy() -> None:
    assert mistakes("networks:\n  oakfield: {name: Oakfield}\norganisations:\n") == [
        "policy.yaml:1:1: there are no organisations: write organisations: {} if there are to be none"
    ]


def test_text_that_is_not_utf_8_is_said_where_it_stands() -> None:
    assert mistakes("organisations: {}\n# Zoé\n".encode("latin-1")) == [
        "policy.yaml:2:5: this is not UTF-8 text: save the file in UTF-8"
    ]


def test_a_role_changed_against_the_last_good_policy_needs_a_new_identifier() -> None:
    before = parse(GOOD, {"hillside.csv": PEOPLE.encode()}.__getitem__)
    assert isinstance(before, Policy)

    said = mistakes(people=changed(PEOPLE, ("North,client", "North,staff")), before=before)

    assert said == [
        "hillside.csv:6:4: hillside/p.north is client and cannot become staff: set status: left "
        "and invite the person anew under a new identifier (ROLE-6)"
    ]


def test_nothing_is_built_from_a_policy_with_mistakes() -> None:
    result = parse("organisations: {a: {}}", {}.__getitem__)

    assert not isinstance(result, Policy)
    assert isinstance(result, tuple)
    shown: Mistakes = result
    assert len(shown) == 2
