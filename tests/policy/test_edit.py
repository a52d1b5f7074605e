"""Programs change the policy's files and nothing else in them: comments, order, quotation marks, line ends."""

import difflib
from datetime import date

import pytest

from policy.change import AddCover, AddPerson, AddToBook, Change, CreateBook, Files, RemoveFromBook, SetField
from policy.edit import Refusal, edit, policy_in
from policy.model import PersonId, Policy

POLICY = """\
# Written by the office.
networks: {oak: {name: Oak}}

organisations:
  hill:   # the hill
    name: 'Hill'
    network: oak
    mobile: optional
    people:
      head: {name: Head One, role: staff, admin: system, email: head@hill.example}   # boss
      t.ok:
        name: Tim "T" Ok   # odd
        role: staff
        email: 't@hill.example'
        # a word about Tim

      p.chan:
        name: Mei Chan
        role: client
        email: "p@hill.example"
    books:
      # the first
      year-1:
        name: Year 1
        description: |
          Room 4,
          by the door
        members: [head, t.ok,
                  p.chan] # those
      violin:
        name: Violin
        members:
        - t.ok
        - p.chan   # pupil
      empty: {name: Empty}
  river:
    name: River
    people: river.csv
    books: {}
"""
SHEET = (
    "\ufeffidentifier;first_name;last_name;role;email;mobile;contact_books;admin\r\n"
    'boss;"Ann; A";Bo;staff;a@river.example;+44 7700 900001;;system\r\n'
    "\r\n"
    'c;"Say ""Cy""";Co;client; c@river.example;+44 7700 900002;choir;\r\n'
    "d;Di;Do;staff;d@river.example;+44 7700 900003;choir;\r\n"
)
WITH_CHOIR = POLICY.replace("    books: {}\n", "    books:\n      choir: {name: Choir}\n")


def p(person: str) -> PersonId:
    return PersonId(person)


def files(policy: str = WITH_CHOIR, sheet: str = SHEET) -> Files:
    return Files("policy.yaml", policy.encode(), {"river.csv": sheet.encode()})


def edited(*changes: Change, of: Files | None = None) -> Files:
    result = edit(of or files(), changes)
    assert not isinstance(result, Refusal), result.text
    return result


def difference(old: bytes, new: bytes) -> list[str]:
    """Lines taken away and lines put there, each with its sign."""
    lines = difflib.unified_diff(old.decode().splitlines(True), new.decode().splitlines(True), n=0)
    return [line.removesuffix("\n") for line in lines if line[:3] not in ("---", "+++") and line[0] in "+-"]


def lines_of(*changes: Change, of: Files | None = None) -> list[str]:
    of = of or files()
    return difference(of.text, edited(*changes, of=of).text)


def rows_of(*changes: Change) -> list[str]:
    return difference(files().beside["river.csv"], edited(*changes).beside["river.csv"])


def policy_of(result: Files) -> Policy:
    policy = policy_in(result)
    assert isinstance(policy, Policy), policy
    return policy


def refusal(*changes: Change, of: Files | None = None) -> str:
    result = edit(of or files(), changes)
    assert isinstance(result, Refusal)
    return "\n".join(f"{one.rule}: {one.text}" for one in result.because)


def test_a_field_that_was_not_there_is_a_line_after_the_others() -> None:
    assert lines_of(SetField(p("hill/p.chan"), "status", "suspended")) == ["+        status: suspended"]


def test_a_field_keeps_its_quotation_marks_and_its_comment() -> None:
    assert lines_of(SetField(p("hill/t.ok"), "email", "new@hill.example")) == [
        "-        email: 't@hill.example'",
        "+        email: 'new@hill.example'",
    ]
    assert lines_of(SetField(p("hill/t.ok"), "name", "Tim Ok")) == [
        '-        name: Tim "T" Ok   # odd',
        "+        name: Tim Ok   # odd",
    ]


def test_a_person_in_brackets_stays_in_brackets() -> None:
    assert lines_of(SetField(p("hill/head"), "review", "all")) == [
        "-      head: {name: Head One, role: staff, admin: system, email: head@hill.example}   # boss",
        "+      head: {name: Head One, role: staff, admin: system, email: head@hill.example, review: all}   # boss",
    ]


def test_a_field_that_is_emptied_is_taken_out() -> None:
    with_review = edited(SetField(p("hill/head"), "review", "all"), SetField(p("hill/t.ok"), "review", "clients"))

    emptied = edited(SetField(p("hill/head"), "review", ""), SetField(p("hill/t.ok"), "review", ""), of=with_review)

    assert emptied == files()


def test_a_value_that_another_program_could_misread_goes_in_quotation_marks() -> None:
    for value in ("yes", "0100", "a: b", "- x", "x #y", "null", "1e5", '"', "Zoë, 2", "{", "@x", "*x", "&x", "!x", "%"):
        result = edited(SetField(p("hill/t.ok"), "job_title", value))

        assert policy_of(result).people[p("hill/t.ok")].job_title == value


def test_a_description_over_several_lines_keeps_them() -> None:
    text = 'Say "hello" 😀\nback\\slash\tand tab'

    result = edited(CreateBook("hill", "choir", "Choir", text))

    assert policy_of(result).organisations["hill"].books["choir"].description == text


def test_somebody_leaves_a_list_in_brackets_and_one_in_lines() -> None:
    assert lines_of(RemoveFromBook(p("hill/p.chan"), "violin")) == ["-        - p.chan   # pupil"]
    assert lines_of(RemoveFromBook(p("hill/head"), "year-1")) == [
        "-        members: [head, t.ok,",
        "+        members: [t.ok,",
    ]
    assert lines_of(RemoveFromBook(p("hill/p.chan"), "year-1")) == [
        "-        members: [head, t.ok,",
        "-                  p.chan] # those",
        "+        members: [head, t.ok] # those",
    ]


@pytest.mark.parametrize(
    ("members", "after", "refilled"),
    [
        (
            ["[head,   # chairs", "t.ok,   # plays", "]"],
            ["[head,   # chairs", "]"],
            ["[head, p.chan,   # chairs", "]"],
        ),
        (["[head,", "t.ok   # plays", "]"], ["[head,", "]"], ["[head, p.chan,", "]"]),
        (["[head # chairs", ", t.ok # plays", "]"], ["[head # chairs", "]"], ["[head, p.chan # chairs", "]"]),
        (["[head, # chairs", "t.ok]"], ["[head, # chairs", "]"], ["[head, p.chan, # chairs", "]"]),
        (["[head, # chairs", "t.ok, ]"], ["[head, # chairs", " ]"], ["[head, p.chan, # chairs", " ]"]),
        (["[head,", "t.ok]"], ["[head]"], ["[head, p.chan]"]),
        (["[head,", "t.ok,", "]"], ["[head,", "]"], ["[head, p.chan,", "]"]),
    ],
)
def test_a_comment_stays_with_whom_it_is_about_when_the_last_of_a_list_leaves(
    members: list[str], after: list[str], refilled: list[str]
) -> None:
    def of(lines: list[str]) -> Files:
        return files(WITH_CHOIR.replace("{name: Empty}", "{name: Empty, members: " + "\n        ".join(lines) + "}"))

    leaves, enters = RemoveFromBook(p("hill/t.ok"), "empty"), AddToBook(p("hill/p.chan"), "empty")

    assert edited(leaves, of=of(members)) == of(after)
    assert edited(leaves, enters, of=of(members)) == of(refilled)


def test_a_list_may_be_emptied_and_filled_at_once() -> None:
    gone = [RemoveFromBook(p("hill/p.chan"), "violin"), RemoveFromBook(p("hill/t.ok"), "violin")]

    assert lines_of(*gone) == [
        "-        members:",
        "-        - t.ok",
        "-        - p.chan   # pupil",
        "+        members: []",
    ]
    assert lines_of(*gone, AddToBook(p("hill/head"), "violin"))[-1] == "+        - head"


def test_somebody_enters_a_list_in_brackets_one_in_lines_and_a_book_without_one() -> None:
    assert lines_of(AddToBook(p("hill/head"), "violin")) == ["+        - head"]
    assert lines_of(AddToBook(p("hill/head"), "empty")) == [
        "-      empty: {name: Empty}",
        "+      empty: {name: Empty, members: [head]}",
    ]


def test_a_new_book_stands_behind_the_others_with_its_members() -> None:
    changes = (CreateBook("hill", "choir", "Choir, all", "Thursdays: 4 pm"), AddToBook(p("hill/head"), "choir"))

    assert lines_of(*changes) == [
        "+      choir:",
        '+        name: "Choir, all"',
        '+        description: "Thursdays: 4 pm"',
        "+        members: [head]",
    ]


def test_the_first_book_and_the_first_cover_make_their_own_place() -> None:
    without = files(POLICY, SHEET.replace("choir", "").replace("client", "staff"))

    assert lines_of(CreateBook("river", "b1", "B 1"), of=without) == [
        "-    books: {}",
        "+    books:",
        "+      b1:",
        "+        name: B 1",
    ]
    cover = AddCover(p("hill/head"), p("hill/t.ok"), date(2026, 12, 1), date(2026, 12, 19))
    assert lines_of(cover) == [
        "+    covers:",
        "+      - {absent: head, stand_in: t.ok, from: 2026-12-01, until: 2026-12-19}",
    ]


def test_two_covers_stand_one_below_the_other() -> None:
    one = AddCover(p("hill/head"), p("hill/t.ok"), date(2026, 12, 1), date(2026, 12, 2))
    other = AddCover(p("hill/t.ok"), p("hill/head"), date(2026, 12, 3), date(2026, 12, 4))

    both = policy_of(edited(other, of=edited(one)))

    assert [cover.first_day.day for cover in both.organisations["hill"].covers] == [1, 3]


def test_a_newcomer_stands_behind_the_others_and_in_the_book() -> None:
    newcomer = AddPerson(
        p("hill/n.ew"),
        (
            ("mobile", "+44 7700 900009"),
            ("name", "Nia Öwe"),
            ("role", "client"),
            ("email", "n@x.example"),
            ("review", ""),
        ),
        ("year-1",),
    )

    assert lines_of(newcomer) == [
        "+      n.ew:",
        "+        name: Nia Öwe",
        "+        role: client",
        "+        email: n@x.example",
        '+        mobile: "+44 7700 900009"',
        "-                  p.chan] # those",
        "+                  p.chan, n.ew] # those",
    ]


def test_windows_line_ends_and_a_byte_order_mark_stay() -> None:
    windows = files("\ufeff" + WITH_CHOIR.replace("\n", "\r\n"))

    result = edited(
        SetField(p("hill/p.chan"), "status", "suspended"),
        AddToBook(p("hill/head"), "violin"),
        CreateBook("hill", "choir", "Choir"),
        of=windows,
    )

    assert result.text.startswith("\ufeff# Written".encode())
    assert result.text.count(b"\n") == result.text.count(b"\r\n") == WITH_CHOIR.count("\n") + 4
    assert policy_of(result).organisations["hill"].books["violin"].members >= {p("hill/head")}


def test_a_file_that_ends_without_a_line_end_can_grow() -> None:
    open_ended = files(WITH_CHOIR.rstrip("\n"))

    assert (
        "dance" in policy_of(edited(CreateBook("river", "dance", "Dance"), of=open_ended)).organisations["river"].books
    )


def test_a_row_changes_in_the_cells_that_change() -> None:
    assert rows_of(SetField(p("river/c"), "mobile", "+44 7700 900077")) == [
        '-c;"Say ""Cy""";Co;client; c@river.example;+44 7700 900002;choir;\r',
        '+c;"Say ""Cy""";Co;client; c@river.example;+44 7700 900077;choir;\r',
    ]


def test_a_book_goes_into_the_column_of_books() -> None:
    changes = (
        CreateBook("river", "dance", "Dance"),
        AddToBook(p("river/boss"), "dance"),
        AddToBook(p("river/c"), "choir"),
    )

    assert rows_of(*changes) == [
        '-boss;"Ann; A";Bo;staff;a@river.example;+44 7700 900001;;system\r',
        '+boss;"Ann; A";Bo;staff;a@river.example;+44 7700 900001;dance;system\r',
    ]


def test_two_books_in_a_cell_are_quoted_where_the_delimiter_is_a_semicolon() -> None:
    result = edited(CreateBook("river", "dance", "Dance"), AddToBook(p("river/d"), "dance"))

    assert b';"choir;dance";' in result.beside["river.csv"]
    assert policy_of(result).people[p("river/d")].books == {"choir", "dance"}
    assert edited(RemoveFromBook(p("river/d"), "dance"), of=result).beside["river.csv"].count(b'"choir"') == 1


def test_a_new_row_stands_last_and_a_missing_column_is_put_behind_the_others() -> None:
    newcomer = AddPerson(
        p("river/e"),
        (
            ("first_name", "Eve; E"),
            ("role", "staff"),
            ("email", "e@x.example"),
            ("mobile", "+44 7700 900005"),
            ("status", "invited"),
        ),
    )

    sheet = edited(newcomer).beside["river.csv"].decode().split("\r\n")

    assert sheet[0].endswith(";admin;status")
    assert sheet[1].endswith(";system;")
    assert sheet[2] == ""
    assert sheet[-2] == 'e;"Eve; E";;staff;e@x.example;+44 7700 900005;;;invited'


def test_a_quotation_mark_inside_a_word_opens_nothing() -> None:
    odd = SHEET.replace("Di;Do", '5" pipe;"D;o"')

    result = edited(SetField(p("river/d"), "email", "dd@river.example"), of=files(sheet=odd))

    assert result.beside["river.csv"] == odd.replace("d@river", "dd@river").encode()


def test_members_in_the_policy_and_books_in_the_sheet_are_both_left() -> None:
    both = files(WITH_CHOIR.replace("{name: Choir}", "{name: Choir, members: [d, boss]}"))

    left = edited(RemoveFromBook(p("river/d"), "choir"), of=both)

    assert p("river/d") not in policy_of(left).organisations["river"].books["choir"].members
    assert b"members: [boss]" in left.text


def test_what_is_so_already_changes_no_byte() -> None:
    assert edited(AddToBook(p("hill/head"), "year-1"), SetField(p("hill/head"), "review", "")) == files()
    assert edited(RemoveFromBook(p("hill/head"), "violin"), SetField(p("river/c"), "last_name", "Co")) == files()


def test_staff_who_alone_serve_a_book_stay_until_somebody_else_is_in_it() -> None:
    only = 'BOOK-11: Tim "T" Ok is the only active staff in the contact book violin'
    alone = f"{only}, which has a client: add another staff first."

    assert refusal(RemoveFromBook(p("hill/t.ok"), "violin")) == alone
    assert refusal(SetField(p("hill/t.ok"), "status", "suspended")) == alone.replace("BOOK-11", "USR-3")
    assert edited(AddToBook(p("hill/head"), "violin"), RemoveFromBook(p("hill/t.ok"), "violin"))


def test_a_client_keeps_a_last_book_and_needs_a_first_one() -> None:
    gone = (RemoveFromBook(p("hill/p.chan"), "violin"), RemoveFromBook(p("hill/p.chan"), "year-1"))

    assert refusal(*gone).startswith("BOOK-12: It is the last contact book of Mei Chan: add p.chan to another book")
    assert refusal(AddPerson(p("hill/x"), (("name", "X"), ("role", "client"), ("email", "x@x.example")))).startswith(
        "BOOK-3: X is a client and needs a contact book"
    )


def test_a_client_comes_into_no_book_without_active_staff() -> None:
    assert refusal(AddToBook(p("hill/p.chan"), "empty")) == (
        "BOOK-4: The contact book empty has no active staff: add one of the staff to it before its clients."
    )
    invited = AddPerson(
        p("hill/i"), (("name", "Ivy"), ("role", "staff"), ("email", "i@x.example"), ("status", "invited")), ("empty",)
    )
    assert "(Ivy has to accept the invitation)" in refusal(invited, AddToBook(p("hill/p.chan"), "empty"))


def test_the_last_system_administrator_stays_one() -> None:
    for change in (SetField(p("hill/head"), "admin", "user"), SetField(p("hill/head"), "status", "left")):
        assert "ROLE-2: Hill would have no active system administrator: make somebody else one first." in refusal(
            change
        )
    assert edited(SetField(p("hill/t.ok"), "admin", "system"), SetField(p("hill/head"), "admin", ""))


def test_roles_do_not_change_and_who_has_left_does_not_come_back() -> None:
    assert "ROLE-6: Mei Chan is client and cannot become staff" in refusal(SetField(p("hill/p.chan"), "role", "staff"))
    left = edited(SetField(p("hill/p.chan"), "status", "left"))
    assert "USR-2: Mei Chan has left for good" in refusal(SetField(p("hill/p.chan"), "status", "active"), of=left)


def test_what_would_be_a_mistake_in_the_file_is_refused_in_its_words() -> None:
    assert refusal(SetField(p("hill/p.chan"), "email", "t@hill.example")) == (
        'INV-11: E-mail "t@hill.example" is used by hill/t.ok already: '
        "an address belongs to one person in an organisation."
    )
    assert refusal(SetField(p("hill/p.chan"), "mobile", "0770")).startswith('INV-9: "0770" is not a phone number')


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (AddToBook(p("hill/head"), "yaer-1"), 'There is no contact book "yaer-1" — did you mean "year-1"?'),
        (AddToBook(p("hill/hed"), "year-1"), 'There is nobody called "hill/hed".'),
        (CreateBook("hill", "year-1", "Again"), "There is a contact book year-1 already: choose another identifier."),
        (CreateBook("hull", "x", "X"), 'There is no organisation "hull".'),
        (AddPerson(p("hill/head"), (("name", "H"),)), "hill/head exists already: choose another identifier."),
    ],
)
def test_what_names_nothing_is_refused_with_what_would_have_been_right(change: Change, sentence: str) -> None:
    assert refusal(change).partition(": ")[2] == sentence


def test_a_cover_that_overlaps_itself_is_refused() -> None:
    cover = AddCover(p("hill/head"), p("hill/t.ok"), date(2026, 12, 1), date(2026, 12, 19))
    overlap = AddCover(p("hill/head"), p("hill/t.ok"), date(2026, 12, 19), date(2026, 12, 24))

    assert "covers for hill/head from 2026-12-01 to 2026-12-19 already" in refusal(overlap, of=edited(cover))


def test_a_file_with_mistakes_is_not_edited() -> None:
    assert "repair that first: policy.yaml:" in refusal(
        CreateBook("hill", "x", "X"), of=files(WITH_CHOIR.replace("role: client", "role: clint"))
    )


def test_what_an_alias_repeats_elsewhere_is_left_to_people() -> None:
    shared = files(
        WITH_CHOIR.replace("members: [head, t.ok,", "members: &all [head, t.ok,").replace(
            "empty: {name: Empty}", "empty: {name: Empty, members: *all}"
        )
    )

    assert "only a person can change" in refusal(RemoveFromBook(p("hill/head"), "year-1"), of=shared)
    assert "only a person can change" in refusal(
        AddToBook(p("hill/head"), "empty"),
        AddToBook(p("hill/head"), "violin"),
        RemoveFromBook(p("hill/head"), "empty"),
        of=shared,
    )
