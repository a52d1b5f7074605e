"""The Matrix HTML subset as structure, and nothing a sender writes as anything else."""

from __future__ import annotations

import pytest

from bridge.transcript.markup import MOST_TAGS, bare, blocks, paragraphs, pictures, plain, says_more


def test_styles_are_runs_of_a_paragraph() -> None:
    assert blocks("a <b>b <i>c</i></b> <del>d</del> <code>e</code><sup>2</sup>") == [
        {"k": "p", "r": ["a ", {"t": "b ", "b": 1}, {"t": "c", "b": 1, "i": 1}, " ",
                         {"t": "d", "s": 1}, " ", {"t": "e", "c": 1}, {"t": "2", "p": 1}]},
    ]  # fmt: skip


def test_paragraphs_headings_and_line_breaks_stay_apart() -> None:
    assert blocks("<h2>Title</h2><p>one<br>two</p>three") == [
        {"k": "h", "l": 2, "r": ["Title"]},
        {"k": "p", "r": ["one", "\n", "two"]},
        {"k": "p", "r": ["three"]},
    ]


def test_lists_may_hold_lists() -> None:
    assert blocks("<ol><li>one<ul><li>inner</li></ul></li><li>two</li></ol>") == [
        {
            "k": "numbers",
            "rows": [
                [[{"k": "p", "r": ["one"]}, {"k": "list", "rows": [[[{"k": "p", "r": ["inner"]}]]]}]],
                [[{"k": "p", "r": ["two"]}]],
            ],
        }
    ]


def test_a_table_keeps_its_rows_and_cells() -> None:
    table = "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table>"

    assert blocks(table) == [
        {
            "k": "table",
            "rows": [
                [[{"k": "p", "r": [{"t": "a", "b": 1}]}], [{"k": "p", "r": [{"t": "b", "b": 1}]}]],
                [[{"k": "p", "r": ["1"]}], [{"k": "p", "r": ["2"]}]],
            ],
        }
    ]


def test_an_empty_cell_or_item_keeps_its_place() -> None:
    (table,) = blocks("<table><tr><td></td><th></th><td>c</td></tr></table>") or []
    (numbers,) = blocks("<ol><li></li><li>two</li></ol>") or []

    assert table["rows"] == [[[], [], [{"k": "p", "r": ["c"]}]]]
    assert numbers["rows"] == [[[]], [[{"k": "p", "r": ["two"]}]]]


@pytest.mark.parametrize(("start", "counted"), [("5", 5), ("0", 0), ("-3", None), ("9" * 30, None), ("x", None)])
def test_a_list_counts_from_where_it_says(start: str, counted: int | None) -> None:
    outer, after = blocks(f'<ol start="{start}"><li>a<ol><li>inner</li></ol></li></ol><ol><li>b</li></ol>') or []

    assert outer.get("start") == counted
    assert "start" not in outer["rows"][0][0][1]
    assert "start" not in after


def test_code_keeps_its_spaces_lines_and_tabs() -> None:
    assert blocks("<pre><code>if a:\n    b()\n</code></pre>") == [{"k": "code", "t": "if a:\n    b()"}]
    assert blocks("<pre>\ta\nbc\td</pre>") == [{"k": "code", "t": "        a\nbc      d"}]


def test_quotes_hold_blocks() -> None:
    assert blocks("<blockquote><p>a</p><p>b</p></blockquote>c") == [
        {"k": "quote", "e": [{"k": "p", "r": ["a"]}, {"k": "p", "r": ["b"]}]},
        {"k": "p", "r": ["c"]},
    ]


def test_a_link_shows_its_address_beside_a_label_that_differs() -> None:
    assert plain(blocks('<a href="https://evil.example">https://bank.example</a>') or []) == (
        "https://bank.example (https://evil.example)"
    )
    assert plain(blocks('<a href="https://a.example">https://a.example</a>') or []) == "https://a.example"
    assert plain(blocks('<a href="javascript:alert(1)">click</a>') or []) == "click (javascript:alert(1))"


def test_a_link_over_whole_paragraphs_or_without_end_shows_its_address_too() -> None:
    assert plain(blocks('<a href="https://evil.example"><h1>look</h1></a>') or []) == "look (https://evil.example)"
    assert plain(blocks('<a href="https://evil.example">look') or []) == "look (https://evil.example)"


def test_a_mention_is_the_name_alone() -> None:
    assert plain(blocks('<a href="https://matrix.to/#/@pat:h.example">Pat</a>: hello') or []) == "Pat: hello"


def test_a_spoiler_is_shown_and_marked() -> None:
    assert plain(blocks('<span data-mx-spoiler="film">he dies</span>') or []) == "[spoiler: film] he dies"


def test_a_quotation_of_the_answered_message_is_left_out() -> None:
    html = "<mx-reply><blockquote>old</blockquote></mx-reply>new"

    assert plain(blocks(html, answers=True) or []) == "new"
    assert plain(blocks(html) or []) == "old new", "what answers nothing is shown whole by clients"


def test_text_that_browsers_hide_is_shown() -> None:
    hidden = '<script>alert("a")</script><font color="#fff">white</font><div style="display:none">none</div>'

    assert plain(blocks(hidden) or []) == 'alert("a")white none'


@pytest.mark.parametrize(
    "html", ["</b></p></li>", "<li>a", "<td>a", "<b>a<p>b", "<blockquote>" * 500 + "a", "<ul><li>" * 400 + "a", "a</a>"]
)
def test_tags_that_do_not_match_lose_no_text(html: str) -> None:
    letters = "".join(character for character in html.replace("blockquote", "").split(">")[-1] if character in "ab")

    assert plain(blocks(html) or []).replace(" ", "").endswith(letters)


def test_nesting_ends_at_a_depth_that_a_page_can_show() -> None:
    found, depth = blocks("<blockquote>" * 90 + "deep" + "</blockquote>" * 90) or [], 0
    while "e" in found[0]:
        found, depth = found[0]["e"], depth + 1

    assert found == [{"k": "p", "r": ["deep"]}]
    assert depth <= 6


def test_more_tags_than_a_message_needs_make_it_plain_text() -> None:
    assert blocks("<b>" * (MOST_TAGS + 1)) is None


def test_plain_text_is_a_paragraph_a_line() -> None:
    assert paragraphs("<b>a</b>\n\nb") == [{"k": "p", "r": ["<b>a</b>"]}, {"k": "p", "r": [""]}, {"k": "p", "r": ["b"]}]


def test_the_text_of_any_html_is_had_without_its_tags() -> None:
    html = (
        '<p>one</p>t<b>w</b>o &amp; <img src="mxc://a/b" alt="a map"><br>3 < 4 <!-- gone --><span data-mx-spoiler="x">y'
    )

    assert bare(html).split() == ["one", "two", "&", "a", "map", "3", "<", "4", "x", "y"]


@pytest.mark.parametrize(
    ("text", "shown", "more"),
    [
        ("**meet** at _eight_", "meet at eight", False),
        ("1. one\n2. [Ann](https://matrix.to/#/@ann:h.example)", "one Ann", False),
        ("```python\nx\n```", "x", False),
        ("Meet at nine", "meet at eight", True),
        ("pay 500", "pay 50", True),
        ("", "anything", False),
    ],
)
def test_a_text_says_more_only_where_it_has_other_words(text: str, shown: str, more: bool) -> None:
    assert says_more(text, shown) is more


def test_pictures_of_a_text_are_named_once_each() -> None:
    html = (
        "<img data-mx-emoticon src=\"mxc://h.example/bear\" alt=\":bear:\"><IMG title='m&amp;m' SRC='mxc://h.example/m'>"
        '<img src=mxc://h.example/plain><img src="mxc://h.example/bear"><img src="https://h.example/x"><b src="mxc://h/y">'
    )

    assert pictures(html) == [
        ("mxc://h.example/bear", ":bear:"),
        ("mxc://h.example/m", "m&m"),
        ("mxc://h.example/plain", ""),
    ]
