"""Links to hosts that nobody asked about are inert; what a reader needs stays as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from moa_mcp.domain.links import neutralize_links

QUESTION = "What does https://docs.python.org/3/ say, and what example.com? Ask jane@mail.example."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![a](https://evil.example/x?q=1)", "![a] (`https://evil.example/x?q=1`)"),
        ("[a](https://evil.example)", "[a] (`https://evil.example`)"),
        ("[a](https://evil.example 'title')", "[a] (`https://evil.example` 'title')"),
        ("[a](<https://evil.example/a b>)", "[a] (<`https://evil.example/a` b>)"),
        ("![p](\nhttps://evil.example\n)", "![p] (\n`https://evil.example`\n)"),
        ("[![i](https://e.example/i)](https://e.example/)", "[![i] (`https://e.example/i`)] (`https://e.example/`)"),
        ("[a][1]\n\n[1]: https://evil.example 't'\n", "[a][1]\n\n[1] : `https://evil.example` 't'\n"),
        ("[1]:\n //evil.example", "[1] :\n `//evil.example`"),
        ("<https://evil.example/>", "<`https://evil.example/`>"),
        ("at https://evil.example/x.", "at `https://evil.example/x`."),
        ("(https://e.example/a_(b)), _https://e.example_", "(`https://e.example/a_(b)`), _`https://e.example`_"),
        ('<img src="x">', '< img src="x">'),
        ("<IMG\nsrc=x>", "< IMG\nsrc=x>"),
        ("a <b onclick=x>b</b>", "a < b onclick=x>b< /b>"),
        ("<div>\n`<img src=x>`\n</div>", "< div>\n`<img src=x>`\n< /div>"),
        ("- <div>\n  `<img src=x>`", "- < div>\n  `<img src=x>`"),
        ('<a href="https://e.example/x">x</a>', '< a href="`https://e.example/x`">x< /a>'),
        ('<x y="`">![x](http://e.example)`', '< x y="`">![x](http://e.example)`'),
        ("a <!-- hidden --> b", "a < !-- hidden --> b"),
        ("see www.evil.example/x, or _www.evil.example_", "see `www.evil.example/x`, or _`www.evil.example`_"),
        ("mailto:a@evil.example", "`mailto:a@evil.example`"),
        ("<mailto:a@evil.example> <tel:1>", "<`mailto:a@evil.example`> < tel:1>"),
        ("<a`b@evil.example> `", "< a`b@evil.example> `"),
        ("write to a.b+c@evil.example.", "write to `a.b+c@evil.example`."),
        ("[a](//evil.example)", "[a] (`//evil.example`)"),
        ("[a [b]](//evil.example)", "[a [b]] (`//evil.example`)"),
        ("[a](/\\evil.example)", "[a] (`/\\evil.example`)"),
        ("[a](&#104;ttps://evil.example)", "[a] (&#104;`ttps://evil.example`)"),
        ("[a](javascript:alert(1))", "[a] (javascript:alert(1))"),
        ("![a](data:image/png;base64,xx)", "![a] (data:image/png;base64,xx)"),
        ("![a](x.png) and [b](c)", "![a] (x.png) and [b] (c)"),
        ("[a](https://docs.python.org@evil.example/)", "[a] (`https://docs.python.org@evil.example/`)"),
        ("[a](https://docs.python.org.evil.example/)", "[a] (`https://docs.python.org.evil.example/`)"),
        ("[a](https://docs.python.org\\@evil.example/)", "[a] (`https://docs.python.org\\@evil.example/`)"),
        ("https://docs.python.org)@evil.example/", "`https://docs.python.org`)@evil.example/"),
        ("1http://evil.example", "1`http://evil.example`"),
        ("\\`![x](http://evil.example)\\`", "\\`![x] (`http://evil.example`)\\`"),
        ("\\\\`![x](http://evil.example)`", "\\\\`![x](http://evil.example)`"),
        ("a ` b http://e.example ` c", "a ` b http://e.example ` c"),
        ("a ` b http://e.example c", "a \\` b `http://e.example` c"),
        ("a ` b\n`![x](http://e.example)`", "a \\` b\n`![x](http://e.example)`"),
        ("[a](b`c)![x](http://e.example)`", "[a] (b`c)![x](http://e.example)`"),
        ('[a](b "`")![x](http://e.example)`', '[a] (b "`")![x](http://e.example)`'),
        ('[a]: b\n"`"\n![x](http://e.example)`', '[a] : b\n"\\`"\n![x] (`http://e.example`)\\`'),
        ("``` ` ``` ` `![x](http://e.example)`", "``` ` ``` ` `![x] (`http://e.example`)\\`"),
        ("http://e.example/a`b", "`http://e.example/a` \\`b"),
        (
            "<https://docs.python.org/`>![x](http://e.example)`",
            "< `https://docs.python.org/` `>![x](http://e.example)`",
        ),
        ("| ` | ![x](http://evil.example) | ` |", "| \\` | ![x] (`http://evil.example`) | \\` |"),
        ("- ```\n  ```\n![x](http://e.example)\n```\n", "- ```\n  ```\n![x] (`http://e.example`)\n```\n"),
        ("  ```\n  a ``` `b ``` http://e.example`\n", "  ```\n  a \\`\\`\\` \\`b \\`\\`\\` `http://e.example` \\`\n"),
        ("```\na\n```\n![x](http://evil.example)", "```\na\n```\n![x] (`http://evil.example`)"),
        ("[a](ht\u200btps://evil.example)", "[a] (`https://evil.example`)"),
    ],
)
def test_what_leads_elsewhere_is_shown_as_code(text: str, shown: str) -> None:
    assert neutralize_links(text, QUESTION) == shown


@pytest.mark.parametrize(
    "text",
    [
        "[docs](https://docs.python.org/3/library?a=1&b=2#x) and ![logo](https://example.com/l.png)",
        "<https://docs.python.org/>, https://example.com.",
        "Write to help@example.com or jane@mail.example, or follow @someone.",
        "**https://docs.python.org**, (https://docs.python.org/3)",
        "[d]: https://docs.python.org/3",
        "[up](#top), [file](./a.md), [root](/b)",
        "`![x](http://evil.example)` is how a picture is written",
        "```html\n<img src='http://evil.example'>\n```\n",
        "~~~\n[a](http://evil.example)\n~~~",
        "````\n```\n[a](http://evil.example)\n```\n````",
        "f(x)[0](y) < 3 and vector<int> v; a <b",
        "No link at all.",
    ],
)
def test_what_was_asked_about_and_what_is_code_stays(text: str) -> None:
    assert neutralize_links(text, QUESTION) == text


hostile = st.text("[]()!<>\\ \n:/.ae#|\"'`@w-", max_size=60)


@given(hostile, hostile)
def test_nothing_is_taken_away(before: str, after: str) -> None:
    text = f"{before}[x](https://evil.example/q){after}"
    left = iter(neutralize_links(text, ""))

    assert all(character in left for character in text)


@given(hostile, hostile)
def test_no_marks_around_a_picture_keep_it_from_being_found(before: str, after: str) -> None:
    assert "](https://evil" not in neutralize_links(f"{before.replace('`', '')}![x](https://evil.example/q){after}", "")


MARKS = [
    "`", "``", "```", "~~~", "|", "\\", "<x ", ">", "- ", "> ", "[", "](", "![", "(", ")", '"', "\n", "\n\n", " ",
    "    ", "<http://e.example>", "![p](http://e.example/q)", "[a](//e.example)", "![a]", "[a]: http://e.example\n",
    "<y:z>", "<!x>", "<div>", "&#96;", "a", "| a | b |\n|---|---|\n",
]  # fmt: skip
marks = st.lists(
    st.sampled_from(MARKS),
    max_size=20,
).map("".join)
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")


def leads(tokens: Iterable[Token]) -> Iterator[str]:
    """Where pictures and links of a document lead."""
    for token in tokens:
        yield from (str(token.attrs[name]) for name in ("src", "href") if name in token.attrs)
        yield from leads(token.children or ())


@given(marks)
def test_a_reader_of_markdown_finds_no_way_to_another_host(text: str) -> None:
    away = [to for to in leads(MARKDOWN.parse(neutralize_links(text, ""))) if "//" in to.partition("%60")[0]]

    assert not [to for to in away if to.startswith(("//", "http"))]
