"""Whatever the layout of a policy, what the rules allow can be written into it, and nothing else moves."""

from hypothesis import given, settings
from hypothesis import strategies as st

from policy.amend import amended, objections
from policy.change import AddPerson, AddToBook, Change, CreateBook, Files, RemoveFromBook, SetField
from policy.edit import Refusal, edit, policy_in
from policy.model import PersonId, Policy

PEOPLE = [f"hill/p{number}" for number in range(5)]
BOOKS = [f"b{number}" for number in range(4)]
NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Co", "Cn")), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text and text.isprintable()
)


@st.composite
def layouts(draw: st.DrawFn) -> Files:
    """One policy in many hands: brackets or lines, comments, quotation marks, line ends, with and without a sheet."""
    comment = st.sampled_from(["", "  # a comment", "   # with: a [colon"])
    blank = st.sampled_from(["", "\n", "\n      # on its own\n"])
    sheet = draw(st.booleans())
    with_column = draw(st.booleans())
    lines = ["organisations:\n", "  hill:\n", "    name: Hill\n", "    mobile: optional\n"]
    books: list[str] = []
    for book in BOOKS:
        members = [person for person in ("head", "p0", "p1", "p2", "p3", "p4") if draw(st.booleans())]
        members = sorted({*members, "head"})
        books += draw(layout_of_book(book, [] if sheet and with_column else members, comment)) + draw(blank)
    if sheet:
        lines.append(f"    people: hill.csv{draw(comment)}\n")
    else:
        lines.append("    people:\n")
        lines.append("      head: {name: Head, role: staff, admin: system, email: head@x.example}\n")
        for person in PEOPLE:
            lines.append(draw(layout_of_person(person.removeprefix("hill/"), comment)))
            lines.append(draw(blank))
    lines += [f"    books:{draw(comment)}\n", *books]
    text = "".join(lines)
    if draw(st.booleans()):
        text = text.rstrip("\n")
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    if draw(st.booleans()):
        text = "\ufeff" + text
    return Files("policy.yaml", text.encode(), {"hill.csv": draw(sheets(with_column))} if sheet else {})


@st.composite
def layout_of_book(draw: st.DrawFn, book: str, members: list[str], comment: st.SearchStrategy[str]) -> str:
    kind = draw(st.sampled_from(["brackets", "wrapped", "lines", "indented", "flow"]))
    if kind == "flow":
        return f"      {book}: {{name: Book, members: [{','.join(members)}]}}{draw(comment)}\n"
    head = f"      {book}:\n        name: 'A book'{draw(comment)}\n"
    if not members:
        return head + draw(st.sampled_from(["", "        members: []\n", "        members:\n"]))
    if kind == "brackets":
        return f"{head}        members: [ {', '.join(members)} ]{draw(comment)}\n"
    if kind == "wrapped":
        joined = ",\n          ".join(members)
        return f"{head}        members: [\n          {joined}\n        ]{draw(comment)}\n"
    margin = "        " if kind == "lines" else "            "
    return f"{head}        members:{draw(comment)}\n" + "".join(f"{margin}- {one}{draw(comment)}\n" for one in members)


@st.composite
def layout_of_person(draw: st.DrawFn, identifier: str, comment: st.SearchStrategy[str]) -> str:
    fields = {"name": f"Name {identifier}", "role": "staff", "email": f"{identifier}@x.example"}
    if draw(st.booleans()):
        fields["job_title"] = draw(st.sampled_from(["Teacher", "'Head, of: it'", '"Mia \\"M\\", Year 1"']))
    if draw(st.booleans()):
        return (
            f"      {identifier}: {{{', '.join(f'{key}: {value}' for key, value in fields.items())}}}{draw(comment)}\n"
        )
    body = "".join(f"          {key}: {value}{draw(comment)}\n" for key, value in fields.items())
    return f"      {identifier}:{draw(comment)}\n{body}"


@st.composite
def sheets(draw: st.DrawFn, with_column: bool) -> bytes:
    delimiter = draw(st.sampled_from(",;"))
    headings = ["identifier", "first_name", "role", "email", "admin", *(["contact_books"] if with_column else [])]
    rows = [headings]
    for identifier in ("head", "p0", "p1", "p2", "p3", "p4"):
        books = ";".join(book for book in BOOKS if identifier == "head" or draw(st.booleans()))
        rows.append([identifier, f"Name{delimiter} {identifier}", "staff", f"{identifier}@x.example",
                     "system" if identifier == "head" else "", *([books] if with_column else [])])  # fmt: skip
    cells = [delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in row) for row in rows]
    text = draw(st.sampled_from(["\n", "\r\n"])).join(cells) + draw(st.sampled_from(["", "\n"]))
    return (draw(st.sampled_from(["", "\ufeff"])) + text).encode()


@st.composite
def changes(draw: st.DrawFn) -> list[Change]:
    found: list[Change] = []
    for number in range(draw(st.integers(1, 6))):
        person, book = PersonId(draw(st.sampled_from(PEOPLE))), draw(st.sampled_from(BOOKS))
        kind = draw(st.sampled_from(["in", "out", "status", "text", "person", "book"]))
        if kind == "in":
            found.append(AddToBook(person, book))
        elif kind == "out":
            found.append(RemoveFromBook(person, book))
        elif kind == "status":
            found.append(SetField(person, "status", draw(st.sampled_from(["suspended", "active", "invited"]))))
        elif kind == "text":
            found.append(SetField(person, "job_title", draw(NAMES)))
        elif kind == "person":
            newcomer = PersonId(f"hill/n{number}")
            fields = (("first_name", draw(NAMES)), ("role", "staff"), ("email", f"n{number}@x.example"))
            found.append(AddPerson(newcomer, fields, (book,)))
        else:
            found += [CreateBook("hill", f"new{number}", draw(NAMES)), AddToBook(person, f"new{number}")]
    return found


@given(layouts(), changes())
@settings(max_examples=150)
def test_what_the_rules_allow_is_written_and_means_what_was_asked(files: Files, wanted: list[Change]) -> None:
    policy = policy_in(files)
    assert isinstance(policy, Policy), (policy, files.text.decode())
    assert objections(policy, wanted) == ()

    result = edit(files, wanted)

    assert not isinstance(result, Refusal), (result.text, files.text.decode(), wanted)
    new = policy_in(result)
    assert isinstance(new, Policy)
    after = amended(policy, wanted)
    for person, member in new.people.items():
        meant = after.person(person)
        assert meant is not None
        assert (member.name, member.job_title, member.status, member.books) == (
            meant.name, meant.job_title, meant.status, meant.books,
        )  # fmt: skip


@given(layouts(), changes())
@settings(max_examples=60)
def test_what_is_done_already_is_not_done_again(files: Files, wanted: list[Change]) -> None:
    once = [change for change in wanted if not isinstance(change, RemoveFromBook)]
    result = edit(files, once)
    assert isinstance(result, Files)

    again = edit(result, [change for change in once if isinstance(change, AddToBook)])

    assert again == result


@given(layouts(), changes())
@settings(max_examples=60)
def test_comments_stay_all_of_them(files: Files, wanted: list[Change]) -> None:
    kept = [change for change in wanted if not isinstance(change, RemoveFromBook)]

    result = edit(files, kept)

    assert isinstance(result, Files)
    for comment in (b"# a comment", b"# with: a [colon", b"# on its own"):
        assert result.text.count(comment) >= files.text.count(comment)
