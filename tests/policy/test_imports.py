"""People from a table: a verdict for every row with row, column, reason and suggestion, and nothing done twice."""

import pytest

from policy.change import Files
from policy.edit import edit, policy_in
from policy.enrol import EMAIL
from policy.import_verdicts import Import, Table
from policy.imports import plan_import
from policy.model import Membership, PersonId, Policy

POLICY = """\
organisations:
  hill:
    name: Hill
    default_book: year-1
    mobile: optional
    people:
      head: {name: Ada Head, role: staff, admin: system, email: head@hill.example}
      office: {name: Olga Office, role: staff, admin: user, email: office@hill.example}
      t.ok: {first_name: Tim, last_name: Ok, role: staff, email: t@hill.example}
      p.chan: {first_name: Mei, last_name: Chan, role: client, email: p@x.example, job_title: "Mia, Year 1"}
      gone: {name: Gil Gone, role: client, email: gone@x.example, status: left}
    books:
      year-1: {name: Year 1, members: [t.ok, p.chan]}
      year-2: {name: Year 2, members: [head]}
      empty: {name: Empty}
"""
FILES = Files("policy.yaml", POLICY.encode(), {})
HEADINGS = "identifier,first_name,last_name,role,email,contact_books"


def policy(files: Files = FILES) -> Policy:
    found = policy_in(files)
    assert isinstance(found, Policy), found
    return found


def table(headings: str, *rows: str, wrong: dict[tuple[int, str], str] | None = None) -> Table:
    columns = headings.split(",")
    return Table.of(columns, [row.split(",") for row in rows], range(2, len(rows) + 2), wrong)


def planned(headings: str, *rows: str, by: Membership | None = None, skip_existing: bool = False) -> Import:
    return plan_import(policy(), "hill", table(headings, *rows), by=by, skip_existing=skip_existing)


def said(plan: Import) -> list[str]:
    return [str(verdict) for verdict in plan.verdicts]


def applied(plan: Import, files: Files = FILES) -> Files:
    result = edit(files, plan.changes)
    assert isinstance(result, Files), result
    return result


def test_newcomers_are_invited_and_somebody_who_is_there_is_changed_and_the_same_file_again_changes_nothing() -> None:
    rows = ("n.new,Nia,New,client,n@x.example,year-1", "p.chan,Mei,Chan-Lee,client,p@x.example,year-1", "t.ok,,,,,")

    plan = planned(HEADINGS, *rows)
    result = policy(applied(plan))
    again = plan_import(result, "hill", table(HEADINGS, *rows))

    assert said(plan) == [
        "row 2 n.new: new: in year-1",
        'row 3 p.chan: change: last_name "Chan" becomes "Chan-Lee"',
        "row 4 t.ok: same",
    ]
    assert result.people[PersonId("hill/n.new")].status == "invited"
    assert result.people[PersonId("hill/p.chan")].name == "Mei Chan-Lee"
    assert {verdict.outcome for verdict in again.verdicts} == {"same"}
    assert again.changes == ()


@pytest.mark.parametrize(
    ("identifier", "suggestion"),
    [
        ("Zoë.O'Neil", "write zoe.o.neil"),
        ("\u0440.chan", 'type "\u0440" anew: it is the cyrillic small letter er'),
        ("p.chan\u200b", "write p.chan"),
        ("!", ""),
    ],
)
def test_an_identifier_that_is_none_is_answered_with_one_that_is(identifier: str, suggestion: str) -> None:
    (row,) = planned("identifier,first_name,role,email", f"{identifier},Nia,client,n@x.example").verdicts

    assert row.reasons[0].suggestion == suggestion


def test_a_telephone_number_that_a_spreadsheet_has_shortened_is_written_anew() -> None:
    plan = planned("identifier,first_name,role,email,mobile", "n.new,Nia,client,n@x.example,4.47701E+11")

    assert said(plan)[0].endswith("— write + and the country code, in a column formatted as text")


def test_a_file_of_staff_alone_imports_staff_alone() -> None:
    plan = planned("identifier,first_name,role,email,contact_books", "s.new,Sam,staff,s@hill.example,year-2")

    assert plan.good
    assert policy(applied(plan)).people[PersonId("hill/s.new")].role == "staff"


def test_staff_books_and_clients_come_in_one_file_whatever_their_order() -> None:
    active = f"{HEADINGS},status"
    plan = planned(
        active,
        "c.new,Cy,New,client,c@x.example,year-9,invited",
        "s.new,Sue,New,staff,s@hill.example,year-9,active",
    )

    result = policy(applied(plan))

    assert plan.good
    assert plan.new_books == ("year-9",)
    assert result.organisations["hill"].books["year-9"].members == {PersonId("hill/c.new"), PersonId("hill/s.new")}


def test_a_client_waits_until_the_staff_of_the_book_have_accepted() -> None:
    rows = ("s.new,Sue,New,staff,s@hill.example,empty", "c.new,Cy,New,client,c@x.example,empty")
    plan = planned(HEADINGS, *rows)

    assert said(plan) == [
        "row 2 s.new: new: in empty",
        "row 3 c.new: refused: contact_books: the contact book empty has no active staff (BOOK-4)"
        " — import the row again when Sue New has accepted",
    ]
    accepted = applied(plan).text.replace(b"status: invited", b"status: active")
    assert plan_import(policy(Files("policy.yaml", accepted, {})), "hill", table(HEADINGS, *rows)).good


def test_who_names_no_book_comes_into_the_default_book() -> None:
    plan = planned("identifier,first_name,role,email", "n.new,Nia,client,n@x.example")

    assert policy(applied(plan)).people[PersonId("hill/n.new")].books == {"year-1"}


def test_a_client_without_any_book_is_refused_where_there_is_no_default() -> None:
    without = policy(FILES._replace(text=FILES.text.replace(b"    default_book: year-1\n", b"")))

    plan = plan_import(without, "hill", table("identifier,first_name,role,email", "n.new,Nia,client,n@x.example"))

    assert "BOOK-3" in said(plan)[0]


def test_every_wrong_cell_is_named_with_its_column_and_what_may_have_been_meant() -> None:
    plan = planned(
        f"{HEADINGS},mobile,until,status",
        "n.new,Nia,New,clint,n@x.example,yaer-1,07700900001,46234,actve",
        "N New,Nia,New,client,not-an-address,year-1,447700900001,,",
        ",Zoe,Zed,client,z@x.example,year-1,,,",
        "o.new,,,client,,year-1,,,",
    )

    rows = said(plan)
    assert 'role: unknown role "clint" — did you mean "client"?' in rows[0]
    assert 'contact_books: unknown book "yaer-1" — did you mean "year-1"?' in rows[0]
    assert 'status: unknown status "actve" — did you mean "active"?' in rows[0]
    assert 'not "46234" — the spreadsheet made a number of it: write 2026-07-31 as text' in rows[0]
    assert 'mobile: "07700900001" is not a phone number' in rows[0]
    assert 'identifier: "N New" is not an identifier: use a-z 0-9 - . _ only — write n.new' in rows[1]
    assert "mobile: " in rows[1]
    assert "write + and the country code" in rows[1]
    assert 'email: "not-an-address" is not an e-mail address' in rows[1]
    assert "row 4 (no identifier): refused: identifier: the row has no identifier — write z.zed" in rows[2]
    assert "first_name: hill/o.new has no name (INV-2)" in rows[3]
    assert "email: hill/o.new has no email" in rows[3]
    assert plan.changes == ()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("31/07/2027", "write 2027-07-31"),
        ("7.4.2027", "write 2027-04-07 or 2027-07-04"),
        ("5/5/2027", "write 2027-05-05"),
        ("31/31/2027", ""),
    ],
)
def test_a_day_as_people_write_it_is_answered_with_how_to_write_it(written: str, meant: str) -> None:
    plan = planned("identifier,until", f"t.ok,{written}")

    assert [(reason.column, reason.suggestion) for reason in plan.refused[0].reasons] == [("until", meant)]


def test_a_client_row_does_not_make_a_book() -> None:
    plan = planned(HEADINGS, "n.new,Nia,New,client,n@x.example,yaer-1")

    assert said(plan) == ['row 2 n.new: refused: contact_books: unknown book "yaer-1" — did you mean "year-1"?']


def test_who_is_somebody_else_under_the_same_identifier_is_refused_or_skipped() -> None:
    other = "p.chan,Paula,Chan,client,paula@x.example,year-1"

    assert said(planned(HEADINGS, other)) == [
        'row 2 p.chan: refused: identifier: "p.chan" is Mei Chan already (IMP-4)'
        " — if this is somebody else, write p.chan2"
    ]
    assert said(planned(HEADINGS, other, skip_existing=True)) == [
        "row 2 p.chan: skipped: the identifier is in use already"
    ]


def test_an_identifier_twice_and_an_address_twice_are_refused() -> None:
    plan = planned(
        HEADINGS,
        "a,A,A,client,a@x.example,year-1",
        "a,A,A,client,a@x.example,year-1",
        "b,B,B,client,GONE@x.example,year-1",
    )

    assert said(plan)[0] == 'row 2 a: refused: identifier: "a" stands in rows 2 and 3: keep one (IMP-4)'
    assert plan.verdicts[1].outcome == "refused"
    assert said(plan)[2] == (
        'row 4 b: refused: email: "gone@x.example" is used by hill/gone already: '
        "an address belongs to one person in an organisation (INV-11)"
    )


def test_every_row_with_somebody_elses_address_is_refused() -> None:
    plan = planned(HEADINGS, "a,A,A,client,gone@x.example,year-1", "b,B,B,client,gone@x.example,year-1")

    assert [verdict.outcome for verdict in plan.verdicts] == ["refused", "refused"]
    assert all('"gone@x.example" is used by hill/gone already' in row for row in said(plan))


def test_of_two_rows_with_one_address_or_account_the_later_is_refused_even_if_it_says_nothing_new() -> None:
    as_it_is = "p.chan,Mei,Chan,client,p@x.example,year-1,@mei:x.example"
    same_address = "a,A,A,client,P@X.example,year-1,"
    same_account = "a,A,A,client,a@x.example,year-1,@mei:x.example"
    here = policy(
        Files("policy.yaml", POLICY.replace("p@x.example", 'p@x.example, matrix: "@mei:x.example"').encode(), {})
    )

    def outcomes(*rows: str) -> list[str]:
        return list(plan_import(here, "hill", table(f"{HEADINGS},matrix", *rows)).outcomes)

    assert outcomes(as_it_is) == ["same"]
    for other in (same_address, same_account):
        assert outcomes(as_it_is, other) == ["same", "refused"]
        assert outcomes(other, as_it_is) == ["new", "refused"]


def test_what_is_written_otherwise_and_means_the_same_changes_nothing() -> None:
    both = POLICY.replace("members: [head]", "members: [head, p.chan]")
    rows = table(
        HEADINGS, "p.chan,Mei,Chan,client,p@x.example,year-2;year-1", "t.ok,Tim,Ok,staff,t@hill.example,year-1"
    )

    assert plan_import(policy(Files("policy.yaml", both.encode(), {})), "hill", rows).outcomes == ["same", "same"]


@pytest.mark.parametrize("beside", ["n@x.example", "zoë@x.example"])
def test_an_address_is_judged_alike_whatever_alphabet_the_others_are_in(beside: str) -> None:
    here = policy()
    for address in (f"a{chr(code)}b@x{chr(code)}y.example" for code in range(128)):
        cells = [["a", "A", "A", "client", address, "year-1"], ["b", "B", "B", "client", beside, "year-1"]]
        found = plan_import(here, "hill", Table.of(HEADINGS.split(","), cells, [2, 3]))

        assert (found.outcomes[0] == "new") == (EMAIL.fullmatch(address) is not None), repr(address)


def test_a_dry_run_makes_no_changes_and_says_the_same_as_one_that_is_done() -> None:
    plan = planned(
        HEADINGS, "n.new,Nia,New,client,n@x.example,year-1", "gone,,,,,year-2", "s.new,Sue,,staff,s@hill.example,year-9"
    )

    assert (plan.count("new"), plan.count("change"), plan.count("refused")) == (2, 1, 0)
    assert plan.new_books == ("year-9",)
    assert "changes" not in vars(plan)
    assert [type(change).__name__ for change in plan.changes] == ["CreateBook", "AddPerson", "AddPerson", "AddToBook"]


def test_a_year_rolls_over_in_one_file() -> None:
    plan = planned(
        "identifier,contact_books,status,job_title",
        'p.chan,year-2,,"Mia Year 2"',
        "t.ok,year-2,,",
    )

    result = policy(applied(plan))

    assert plan.good
    assert said(plan)[1] == "row 3 t.ok: change: into year-2, out of year-1"
    assert result.people[PersonId("hill/p.chan")].books == {"year-2"}


def test_a_class_goes_up_with_its_teacher_into_a_book_that_the_file_makes() -> None:
    plan = planned("identifier,contact_books,status", "p.chan,year-9,", "t.ok,year-9,", "office,,left")

    result = policy(applied(plan))

    assert plan.good
    assert plan.new_books == ("year-9",)
    assert result.people[PersonId("hill/p.chan")].books == {"year-9"}
    assert result.organisations["hill"].books["year-1"].members == frozenset()


def test_two_books_in_a_cell_have_a_semicolon_between_them() -> None:
    commas = Table.of(["identifier", "contact_books"], [["t.ok", "year-1, year-2"]], [2])

    assert said(plan_import(policy(), "hill", commas))[0].endswith("— put a semicolon between two books")
    assert planned("identifier,contact_books", "t.ok,year-1; year-2").good


def test_staff_do_not_leave_a_book_with_clients_alone_and_the_other_rows_go_on() -> None:
    plan = planned("identifier,contact_books,status", "t.ok,year-2,", "head,year-2;year-1,")

    assert plan.good, "the head takes over"
    plan = planned("identifier,contact_books,status", "t.ok,year-2,", "head,empty,")
    assert [verdict.outcome for verdict in plan.verdicts] == ["refused", "change"]
    assert "would have no active staff (BOOK-11) — add another staff to it first" in said(plan)[0]
    assert "(USR-3)" in said(planned("identifier,status", "t.ok,left"))[0]


def test_a_client_who_counts_on_a_refused_row_is_refused_too() -> None:
    plan = planned(
        f"{HEADINGS},status",
        "c.new,Cy,New,client,c@x.example,year-9,",
        "s.new,Sue,New,staff,no-address,year-9,active",
    )

    assert [verdict.outcome for verdict in plan.verdicts] == ["refused", "refused"]
    assert plan.changes == ()


def test_the_last_system_admin_stays() -> None:
    assert "(ROLE-2) — make somebody else one first" in said(planned("identifier,status", "head,left"))[0]
    assert planned("identifier,admin,status", "head,,left", "t.ok,system,").good


def test_nobody_changes_role_or_comes_back() -> None:
    assert "(ROLE-6)" in said(planned("identifier,role", "p.chan,staff"))[0]
    assert (
        "has left for good (USR-2) — invite the person under a new identifier"
        in said(planned("identifier,status", "gone,active"))[0]
    )


def test_a_user_admin_imports_no_rights_and_touches_no_system_admin() -> None:
    office = policy().people[PersonId("hill/office")]

    rows = said(
        planned(
            "identifier,admin,review,job_title,status",
            "t.ok,user,,,",
            "t.ok2,,,,",
            "head,,,Chief,",
            "office,,,,suspended",
            by=office,
        )
    )

    assert "admin: Only a system administrator can say who administers. (ROLE-3)" in rows[0]
    assert "Ada Head is a system administrator: only another one" in rows[2]
    assert "(ROLE-5)" in rows[3]
    assert planned("identifier,job_title", "t.ok,Teacher", by=office).good


@pytest.mark.parametrize(("right", "rule"), [("admin", "ROLE-3"), ("review", "ROLE-4")])
def test_a_newcomer_who_would_have_rights_is_refused_under_the_heading_that_says_so(right: str, rule: str) -> None:
    office = policy().people[PersonId("hill/office")]
    value = "system" if right == "admin" else "all"

    (row,) = planned(
        f"identifier,first_name,role,email,{right}", f"n,Nia,staff,n@x.example,{value}", by=office
    ).verdicts

    (reason,) = row.reasons
    assert (reason.column, rule in reason.text) == (right, True)


def test_a_user_admin_does_not_hand_a_reviewers_rights_to_another_account() -> None:
    with_reviewers = FILES.text.replace(
        b"role: staff, email: t@hill.example}",
        b"role: staff, email: t@hill.example, review: all, matrix: '@tim:x.example'}\n"
        b"      r.inv: {name: Rae Inv, role: staff, email: r@hill.example, review: all, status: invited}",
    )
    here = policy(Files("policy.yaml", with_reviewers, {}))
    office, head = (here.people[PersonId(f"hill/{name}")] for name in ("office", "head"))
    rows = table(
        "identifier,email,matrix,job_title",
        "t.ok,t@hill.example,@friend:x.example,",
        "r.inv,friend@hill.example,,",
        "p.chan,other@x.example,@p:x.example,",
    )

    assert [verdict.outcome for verdict in plan_import(here, "hill", rows, by=office).verdicts] == [
        "refused",
        "refused",
        "change",
    ]
    assert (
        "matrix: Tim Ok reviews chats: only a system administrator"
        in said(plan_import(here, "hill", rows, by=office))[0]
    )
    assert plan_import(here, "hill", rows, by=head).good
    title = table("identifier,email,matrix,job_title", "t.ok,t2@hill.example,@tim:x.example,Deputy")
    assert plan_import(here, "hill", title, by=office).good


def test_a_cell_that_holds_a_formula_refuses_its_row_alone() -> None:
    rows = table(
        HEADINGS,
        "a,A,A,client,=B2,year-1",
        "b,B,B,client,b@x.example,year-1",
        wrong={(2, "email"): "the cell holds a formula: paste it as a value"},
    )

    plan = plan_import(policy(), "hill", rows)

    assert said(plan) == [
        "row 2 a: refused: email: the cell holds a formula: paste it as a value",
        "row 3 b: new: in year-1",
    ]


@pytest.mark.parametrize(
    ("headings", "sentence"),
    [
        ("identifier,nmae,role", 'Column 2 has the heading "nmae", which means nothing here'),
        ("identifier,role,role", 'The heading "role" stands twice, in columns 2 and 3: delete one of the two columns.'),
        ("People of 2026,,", "The first row has to hold the headings, as in the template, with a comma or semicolon"),
        ("first_name,role", "There is no column identifier: take the headings from the template."),
    ],
)
def test_wrong_headings_refuse_the_file_as_a_whole(headings: str, sentence: str) -> None:
    plan = planned(headings, ",".join("x" for _ in headings.split(",")))

    assert any(text.startswith(sentence) for text in plan.mistakes)
    assert plan.changes == ()


def test_a_file_of_headings_alone_is_to_be_filled_in() -> None:
    assert planned(HEADINGS).mistakes == (
        "There is nobody in the file: write people into the rows below the headings.",
    )


def test_a_wrong_role_is_not_blamed_for_an_address_that_staff_do_not_have() -> None:
    invited = FILES.text.replace(
        b"    mobile: optional\n", b"    mobile: optional\n    invitations: {staff_domains: [hill.example]}\n"
    )
    rows = table(HEADINGS, "a,A,A,clint,a@x.example,year-1", "b,B,B,staff,b@x.example,year-1")

    verdicts = said(plan_import(policy(Files("policy.yaml", invited, {})), "hill", rows))

    assert "INV-13" not in verdicts[0]
    assert "INV-13" in verdicts[1]


def test_501_clients_are_too_many_and_500_are_not() -> None:
    rows = [f"c{n},C,{n},client,c{n}@x.example,year-1" for n in range(501)]

    assert planned(HEADINGS, *rows).mistakes == (
        "The file has 501 clients, 500 at most are imported at once: split it (IMP-3).",
    )
    assert planned(HEADINGS, *rows[:500]).good


def test_refused_rows_come_back_with_their_reasons_and_can_be_mended_there() -> None:
    plan = planned(HEADINGS, "a,A,A,client,a@x.example,year-1", "b,B,B,client,,year-1")

    back = plan.refused_table()

    assert back.headings[-1] == "reason"
    assert [row[:5] for row in back.rows] == [["b", "B", "B", "client", ""]]
    assert back.rows[0][-1].startswith("email: hill/b has no email")
