"""Statements that follow from the answer of a first one: all of them or none."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from bridge.at_once import Follow, Statement, write_at_once
from bridge.store import Store

REMEMBER = "INSERT INTO remembered (key, value) VALUES ($1, $2)"


async def remember(store: Store, follow: Follow) -> None:
    async with store._connection() as connection:
        await write_at_once(connection, f"{REMEMBER} RETURNING key, value", ("first", '"one"'), follow)


async def test_what_follows_is_made_of_the_first_answer_and_one_statement_may_have_many_rows(store: Store) -> None:
    await remember(store, lambda row: [Statement(REMEMBER, [("second", row[1]), ("third", row[1])])])

    assert await store.recall_all("") == {"first": "one", "second": "one", "third": "one"}


async def test_each_statement_is_asked_for_when_the_one_before_it_is_done(store: Store) -> None:
    asked = []

    def follow(row: Sequence[Any]) -> Iterator[Statement]:
        for name in ("second", "third"):
            yield Statement(REMEMBER, [(name, '""')])
            asked.append(name)

    await remember(store, follow)

    assert asked == ["second", "third"]


@pytest.mark.parametrize(
    "broken",
    [Statement(REMEMBER, [("second", '""'), ("first", '""')]), Statement("INSERT INTO nowhere VALUES ($1)", [(1,)])],
    ids=["a row that may not be", "a table that is not there"],
)
async def test_where_one_fails_none_was_done_and_the_next_write_goes_on(store: Store, broken: Statement) -> None:
    with pytest.raises(Exception, match=r"(?i)unique|nowhere"):
        await remember(store, lambda _: [broken])

    assert await store.recall_all("") == {}
    await remember(store, lambda _: [])
    assert await store.recall("first") == "one"


async def test_what_goes_wrong_while_it_is_made_undoes_it_too(store: Store) -> None:
    def follow(row: Sequence[Any]) -> Iterator[Statement]:
        yield Statement(REMEMBER, [("second", '""')])
        raise KeyError("third")

    with pytest.raises(KeyError, match="third"):
        await remember(store, follow)

    assert await store.recall_all("") == {}
    await remember(store, lambda _: [])
