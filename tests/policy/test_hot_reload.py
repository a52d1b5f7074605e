"""The policy file on disk and the one in memory."""

import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from policy import hot_reload
from policy.decide import decide
from policy.hot_reload import Loaded, PolicyFile
from policy.model import PersonId, Policy
from policy.question import Search
from policy.search import index_steps

SOON = 60.0
"""Seconds that a test waits at most for what takes a moment."""


def policy(name: str = "Hill", people: str = "people.csv") -> str:
    return f"organisations: {{hill: {{name: {name}, mobile: optional, people: {people}, books: {{}}}}}}\n"


def sheet(*identifiers: str, role: str = "staff") -> str:
    rows = [f"{one},{one.title()},{role},{one}@x.example," for one in identifiers]
    return "\n".join(["identifier,first_name,role,email,admin", "head,Helen,staff,head@x.example,system", *rows]) + "\n"


def save(path: Path, text: str) -> None:
    """At once and whole: a program that is kept waiting in the middle would leave half a file for a while."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


class Watched:
    """A policy file in a folder of its own and what it has told."""

    def __init__(self, folder: Path) -> None:
        self.path, self.people = folder / "policy.yaml", folder / "people.csv"
        self.path.write_text(policy())
        self.people.write_text(sheet("ann"))
        self._told: list[Loaded] = []
        self._changed = threading.Condition()
        self.file = PolicyFile(self.path, told=self._tell)

    @property
    def told(self) -> int:
        """How often something was."""
        with self._changed:
            return len(self._told)

    def _tell(self, loaded: Loaded) -> None:
        with self._changed:
            self._told.append(loaded)
            self._changed.notify()

    def after(self, change: Callable[[], object]) -> Loaded:
        """What is told next after the change."""
        with self._changed:
            seen = len(self._told)
        change()
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._told) > seen, SOON), "nothing was loaded"
            return self._told[-1]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    watched.file.load()
    watched.file.watch()
    yield watched
    watched.file.stop()


def test_what_is_loaded_decides_and_is_searchable(watched: Watched) -> None:
    loaded, searchable = watched.file.policy, watched.file.searchable

    assert loaded is not None
    assert loaded is searchable
    found = decide(loaded, Search(PersonId("hill/head"), "ann"), 0.0).people
    assert [one.person for one in found or ()] == ["hill/ann"]


def test_a_saved_file_and_a_saved_spreadsheet_are_taken_up(watched: Watched) -> None:
    after_file = watched.after(lambda: save(watched.path, policy("Hillside")))
    assert after_file.policy is not None
    assert after_file.policy.organisations["hill"].name == "Hillside"

    after_sheet = watched.after(lambda: save(watched.people, sheet("ann", "ben")))
    assert after_sheet.policy is not None
    assert set(after_sheet.policy.people) == {"hill/head", "hill/ann", "hill/ben"}
    assert watched.file.policy is after_sheet.policy


class Clock:
    """A clock that stands until it runs, and knows when somebody looked at it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runs = False
        self.looked_at = threading.Event()

    def __call__(self) -> float:
        if self.runs:
            self.now += hot_reload.STILL
        # Read before anybody is told: whoever waits for the look sets it on at once.
        now = self.now
        self.looked_at.set()
        return now

    def seen(self) -> None:
        """Wait for the next look."""
        self.looked_at.clear()
        assert self.looked_at.wait(SOON)


@pytest.mark.parametrize("half", ["policy", "sheet"])
def test_half_a_file_is_not_taken_for_a_policy_even_where_it_would_be_a_good_one(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    clock = Clock()
    monkeypatch.setattr(hot_reload, "perf_counter", clock)
    second = "organisations: {hill: {name: Hill, mobile: optional, people: people.csv, books: {}}}\n# and more\n"

    def save_slowly() -> None:
        if half == "policy":
            watched.path.write_text(policy())
        else:
            watched.people.write_text(sheet())
        clock.seen()
        clock.now += hot_reload.STILL * 0.9
        watched.path.write_text(second)
        watched.people.write_text(sheet("ann", "ben"))
        clock.seen()
        clock.now += hot_reload.STILL * 0.9
        clock.runs = True

    loaded = watched.after(save_slowly)

    assert loaded.policy is not None
    assert set(loaded.policy.people) == {"hill/head", "hill/ann", "hill/ben"}
    assert watched.told == 2, "the first time, and the whole files"


def test_mistakes_keep_the_last_good_policy_and_are_told_all_at_once(watched: Watched) -> None:
    good = watched.file.policy

    wrong = watched.after(lambda: save(watched.people, sheet("ann", "Ben Bad", role="stuff")))

    assert wrong.policy is None
    assert len(wrong.mistakes) >= 3
    assert {mistake.place.file for mistake in wrong.mistakes} == {"people.csv"}
    assert watched.file.policy is good
    assert watched.after(lambda: save(watched.people, sheet("ann"))).policy is not None


def test_a_spreadsheet_that_is_missing_is_waited_for(watched: Watched) -> None:
    aside = watched.people.with_suffix(".aside")

    gone = watched.after(lambda: watched.people.rename(aside))
    assert "cannot read" in str(gone.mistakes[0])
    assert watched.after(lambda: aside.rename(watched.people)).policy is not None


def test_a_role_is_compared_with_the_last_good_policy(watched: Watched) -> None:
    text = sheet("ann").replace("ann,Ann,staff", "ann,Ann,client")

    assert "ROLE-6" in " ".join(map(str, watched.after(lambda: save(watched.people, text)).mistakes))


def test_without_a_file_there_is_no_policy_until_one_comes(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(sheet("ann"))
    told = threading.Event()
    file = PolicyFile(tmp_path / "policy.yaml", told=lambda loaded: told.set() if loaded.policy else None)

    missing = file.load()
    assert missing.policy is None
    assert str(missing.mistakes[0]).startswith("policy.yaml:1:1: the file cannot be read")
    file.watch()
    try:
        file.path.write_text(policy())

        assert told.wait(SOON)
        assert file.policy is not None
    finally:
        file.stop()


def test_a_large_policy_takes_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(policy())
    (tmp_path / "people.csv").write_text(sheet(*(f"p{number}" for number in range(12_000))))
    file = PolicyFile(tmp_path / "policy.yaml")
    first = file.load().policy
    (tmp_path / "people.csv").write_text(sheet(*(f"q{number}" for number in range(12_000))))

    second = file.load().policy

    assert first is not None
    assert second is not None
    assert len(first.people) == len(second.people) == 12_001
    assert file.searchable is second
    found = decide(second, Search(PersonId("hill/head"), "q11999"), 0.0).people
    assert [one.person for one in found or ()] == ["hill/q11999"]


def test_a_file_saved_while_the_search_is_made_ready_goes_first(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = watched.file.searchable
    go_on, ready = threading.Event(), threading.Event()

    def slowly(policy: Policy) -> Generator[None, None, None]:
        while not go_on.wait(0.002):
            yield
        yield from index_steps(policy)
        ready.set()

    monkeypatch.setattr(hot_reload, "index_steps", slowly)
    watched.after(lambda: save(watched.people, sheet("ben")))
    second = watched.after(lambda: save(watched.people, sheet("cleo")))

    assert second.policy is not None
    assert "hill/cleo" in second.policy.people
    assert watched.file.policy is second.policy
    assert watched.file.searchable is searched
    go_on.set()
    assert ready.wait(SOON)
    watched.file.stop()
    assert "directory" in second.policy.memo
