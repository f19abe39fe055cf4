"""Links to hosts that nobody asked about are inert; what a reader needs stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.markup import inert

QUESTION = "What does https://docs.python.org/3/ say, and what example.com?"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![a](https://evil.example/x?q=1)", "picture: a (`https://evil.example/x?q=1`)"),
        ("[a](https://evil.example)", "a (`https://evil.example`)"),
        ("[a](https://evil.example 'title')", "a (`https://evil.example`)"),
        ("[a](<https://evil.example/a b>)", "a (`https://evil.example/a b`)"),
        ("![p](\nhttps://evil.example\n)", "picture: p (`https://evil.example`)"),
        (
            "[![i](https://e.example/i)](https://e.example/)",
            "picture: i (`https://e.example/i`) (`https://e.example/`)",
        ),
        ("[a][1]\n\n[1]: https://evil.example 't'\n", "[a][1]\n\n1: `https://evil.example`\n"),
        ("[1]:\n //evil.example", "1: `//evil.example`"),
        ("<https://evil.example/>", "`https://evil.example/`"),
        ("at https://evil.example/x.", "at `https://evil.example/x.`"),
        ('<img src="x">', '&lt;img src="x">'),
        ("<IMG\nsrc=x>", "&lt;IMG\nsrc=x>"),
        ("<div>\n`<img src=x>`\n</div>", "&lt;div>\n`<img src=x>`\n&lt;/div>"),
        ("[a](//evil.example)", "a (`//evil.example`)"),
        ("[a [b]](//evil.example)", "[a [b]] (//evil.example)"),
        ("[a](/\\evil.example)", "a (`/\\evil.example`)"),
        ("[a](&#104;ttps://evil.example)", "a (`&#104;ttps://evil.example`)"),
        ("[a](javascript:alert(1))", "a (`javascript:alert(1)`)"),
        ("![a](data:image/png;base64,xx)", "picture: a (`data:image/png;base64,xx`)"),
        ("[a](https://docs.python.org@evil.example/)", "a (`https://docs.python.org@evil.example/`)"),
        ("[a](https://docs.python.org.evil.example/)", "a (`https://docs.python.org.evil.example/`)"),
        ("[a](https://docs.python.org\\@evil.example/)", "a (`https://docs.python.org\\@evil.example/`)"),
        ("\\`![x](http://evil.example)\\`", "\\`picture: x (`http://evil.example`)\\`"),
        ("| ` | ![x](http://evil.example) | ` |", "| ` | picture: x (`http://evil.example`) | ` |"),
        ("- ```\n  ```\n![x](http://e.example)\n```\n", "- ```\n  ```\npicture: x (`http://e.example`)\n```\n"),
        ("```\na\n```\n![x](http://e.example)", "```\na\n```\npicture: x (`http://e.example`)"),
    ],
)
def test_what_leads_elsewhere_is_shown_as_code(text: str, shown: str) -> None:
    assert inert(text, QUESTION) == shown


@pytest.mark.parametrize(
    "text",
    [
        "[docs](https://docs.python.org/3/library?a=1&b=2#x) and ![logo](https://example.com/l.png)",
        "<https://docs.python.org/>, https://example.com.",
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
    assert inert(text, QUESTION) == text


def test_a_long_address_is_cut() -> None:
    assert len(inert(f"https://evil.example/{'a' * 5000}", "")) < 400


@given(st.text("[]()!<>\\ \n:/.ae#|\"'", max_size=60), st.text("[]()!<>\\ \n:/.ae#|\"'", max_size=60))
def test_no_marks_around_a_picture_keep_it_from_being_found(before: str, after: str) -> None:
    assert "](https://evil.example" not in inert(f"{before}![x](https://evil.example/q){after}", "")
