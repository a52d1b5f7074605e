"""The policy's files are replaced whole, never over somebody else's change, and each change is a commit."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from bridge.policy_writer import Author, Changed, PolicyWriter
from policy.change import AddPerson, AddToBook, Change, CreateBook, Files, SetField
from policy.edit import edit
from policy.model import PersonId, Policy

POLICY = """\
organisations:
  hill:
    name: Hill
    people: hill.csv
    books:
      year-1: {name: Year 1}
"""
SHEET = """\
identifier,first_name,role,email,mobile,admin,contact_books
head,Head,staff,head@hill.example,+44 7700 900001,system,year-1
chan,Chan,client,chan@hill.example,+44 7700 900002,,year-1
"""
ANN = Author("Ann <Admin>", "@ann:hill.example")


@pytest.fixture(autouse=True)
def a_git_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have hooks, sign what they commit, or speak another language with git."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("LC_ALL", "C")


@pytest.fixture
def writer(tmp_path: Path) -> PolicyWriter:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "hill.csv").write_text(SHEET)
    return PolicyWriter(tmp_path / "policy.yaml")


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=Tester", "-c", "user.email=t@example.org")
    return subprocess.run(("git", "-C", str(folder), *who, *words), check=True, capture_output=True, text=True).stdout


def kept_in_git(folder: Path) -> None:
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=Begin")


def edited(files: Files, *changes: Change) -> Files:
    result = edit(files, changes)
    assert isinstance(result, Files), result
    return result


SUSPEND = SetField(PersonId("hill/chan"), "status", "suspended")
NEW_BOOK = (CreateBook("hill", "violin", "Violin"), AddToBook(PersonId("hill/head"), "violin"))


def test_the_files_are_as_they_were_edited_and_may_be_read_by_the_same_people(writer: PolicyWriter) -> None:
    writer.path.chmod(0o640)
    files, policy = writer.read()

    said = writer.write(files, edited(files, *NEW_BOOK), author=ANN, summary="New book")

    assert said == ""
    assert isinstance(policy, Policy)
    assert "violin" in writer.path.read_text()
    assert "violin" in (writer.path.parent / "hill.csv").read_text()
    assert writer.path.stat().st_mode & 0o777 == 0o640
    assert sorted(file.name for file in writer.path.parent.iterdir()) == ["hill.csv", "policy.yaml"]


def test_a_file_that_somebody_else_changed_stays_theirs(writer: PolicyWriter) -> None:
    files, _ = writer.read()
    after = edited(files, *NEW_BOOK)
    sheet = writer.path.parent / "hill.csv"
    sheet.write_text(SHEET.replace("Chan,", "Chen,"))

    with pytest.raises(Changed, match=r"hill\.csv was changed by somebody else"):
        writer.write(files, after, author=ANN, summary="New book")

    assert writer.path.read_text() == POLICY
    assert "Chen," in sheet.read_text()


def test_a_file_that_is_gone_was_changed(writer: PolicyWriter) -> None:
    files, _ = writer.read()
    (writer.path.parent / "hill.csv").unlink()

    with pytest.raises(Changed):
        writer.write(files, edited(files, *NEW_BOOK), author=ANN, summary="New book")


def test_of_two_administrators_at_once_one_is_told_to_do_it_again(writer: PolicyWriter) -> None:
    files, _ = writer.read()
    outcomes: list[str] = []

    def write(book: str) -> None:
        try:
            writer.write(files, edited(files, CreateBook("hill", book, book)), author=ANN, summary=book)
            outcomes.append("written")
        except Changed:
            outcomes.append("changed")

    threads = [threading.Thread(target=write, args=(book,)) for book in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["changed", "written"]


def test_whoever_reads_between_two_files_finds_a_good_policy(
    writer: PolicyWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = writer.read()
    newcomer = AddPerson(
        PersonId("hill/new"),
        (("first_name", "New"), ("role", "staff"), ("email", "n@x.example"), ("mobile", "+44 7700 900003")),
        ("violin",),
    )
    seen: list[Policy | tuple[object, ...]] = []
    replace = Path.replace

    def look_after(draft: Path, target: Path) -> Path:
        done = replace(draft, target)
        seen.append(writer.read()[1])
        return done

    monkeypatch.setattr(Path, "replace", look_after)
    writer.write(files, edited(files, *NEW_BOOK, newcomer), author=ANN, summary="")

    assert len(seen) == 2
    assert all(isinstance(policy, Policy) for policy in seen)


def test_a_link_to_the_policy_stays_a_link(writer: PolicyWriter, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "real.yaml"
    writer.path.rename(real)
    writer.path.symlink_to(real)
    files, _ = writer.read()

    writer.write(files, edited(files, CreateBook("hill", "violin", "Violin")), author=ANN, summary="")

    assert writer.path.is_symlink()
    assert "violin" in real.read_text()


def test_each_change_is_a_commit_in_the_administrators_name(writer: PolicyWriter) -> None:
    folder = writer.path.parent
    kept_in_git(folder)
    (folder / "other.txt").write_text("not ours")
    git(folder, "add", "other.txt")
    files, _ = writer.read()

    said = writer.write(files, edited(files, SUSPEND), author=ANN, summary="suspend hill/chan")

    assert said == ""
    assert git(folder, "log", "-1", "--format=%an|%ae|%s").strip() == "Ann Admin|@ann:hill.example|suspend hill/chan"
    assert git(folder, "show", "--name-only", "--format=").split() == ["hill.csv"]
    assert git(folder, "status", "--porcelain").split() == ["A", "other.txt"]


def test_what_was_changed_by_hand_before_is_a_commit_of_its_own(writer: PolicyWriter) -> None:
    folder = writer.path.parent
    kept_in_git(folder)
    writer.path.write_text(f"# By hand.\n{POLICY}")
    files, _ = writer.read()

    writer.write(files, edited(files, CreateBook("hill", "violin", "Violin")), author=ANN, summary="New book")

    assert git(folder, "log", "--format=%s").splitlines() == ["New book", "Changes made by hand", "Begin"]
    assert "By hand" not in git(folder, "show", "--format=", "HEAD")


def test_a_commit_that_fails_is_told_and_the_change_stands(writer: PolicyWriter) -> None:
    folder = writer.path.parent
    kept_in_git(folder)
    hook = folder / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'the office is closed' >&2\nexit 1\n")
    hook.chmod(0o755)
    files, _ = writer.read()

    said = writer.write(files, edited(files, SUSPEND), author=ANN, summary="suspend hill/chan")

    assert said == "The change is made, but git did not record it: the office is closed"
    assert "suspended" in (folder / "hill.csv").read_text()


def test_why_git_fails_is_told_in_its_own_words_and_without_hints(writer: PolicyWriter) -> None:
    folder = writer.path.parent
    kept_in_git(folder)

    def said(identifier: str) -> str:
        files, _ = writer.read()
        book = edited(files, CreateBook("hill", identifier, "New"))
        return writer.write(files, book, author=ANN, summary="New book").partition("git did not record it: ")[2]

    lock = folder / ".git" / "index.lock"
    lock.touch()
    assert said("one").startswith("fatal: Unable to create '")
    lock.unlink()
    hook = folder / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert said("two") == "it ended with status 1 without a word."
    hook.unlink()
    git(folder, "rm", "--quiet", "--force", "--cached", "policy.yaml")
    (folder / ".gitignore").write_text("policy.yaml\n")
    assert said("three") == "The following paths are ignored by one of your .gitignore files: policy.yaml"


def test_a_repository_further_up_that_does_not_keep_the_policy_is_left_alone(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    folder = tmp_path / "try"
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "hill.csv").write_text(SHEET)
    writer = PolicyWriter(folder / "policy.yaml")
    files, _ = writer.read()

    writer.write(files, edited(files, SUSPEND), author=ANN, summary="suspend")

    assert git(tmp_path, "status", "--porcelain").split() == ["??", "try/"]


def test_a_file_that_only_its_group_reads_is_not_replaced_by_one_that_the_group_cannot_read(
    writer: PolicyWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_ours(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchown", not_ours)
    files, _ = writer.read()
    after = edited(files, CreateBook("hill", "violin", "Violin"))
    writer.path.chmod(0o640)

    with pytest.raises(PermissionError, match="its group is not ours"):
        writer.write(files, after, author=ANN, summary="")

    assert writer.path.read_text() == POLICY
    assert sorted(file.name for file in writer.path.parent.iterdir()) == ["hill.csv", "policy.yaml"]
    writer.path.chmod(0o644)
    writer.write(files, after, author=ANN, summary="")
    assert "violin" in writer.path.read_text()


def test_what_a_killed_program_left_half_written_is_in_nobodys_way(writer: PolicyWriter) -> None:
    draft = writer.path.with_name(".policy.yaml.new")
    draft.write_text("organisa")
    files, _ = writer.read()

    writer.write(files, edited(files, CreateBook("hill", "violin", "Violin")), author=ANN, summary="")

    assert "violin" in writer.path.read_text()
    assert not draft.exists()


def test_nothing_changed_is_nothing_written(writer: PolicyWriter) -> None:
    files, _ = writer.read()
    before = written(writer.path)

    writer.write(files, files, author=ANN, summary="nothing")

    assert written(writer.path) == before


def written(path: Path) -> tuple[int, int]:
    """Which file it is and when it was written; when it was read is no matter."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns
