"""Patterns are searched without backtracking, and find what `re` finds."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.regex import MAX_TEXT, compile_linear

ATOMS = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^c]", r"\w", r"\b"])
REPEATS = st.sampled_from(["", "*", "+", "?", "{2}", "{1,2}", "{2,}"])


def larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Two parts in a row or to choose from, and groups. Repeats stand behind atoms: what is empty is left out."""
    return st.one_of(
        st.tuples(parts, parts).map("".join),
        st.tuples(parts, parts).map(lambda both: f"(?:{both[0]}|{both[1]})"),
        parts.map(lambda part: f"({part})"),
        parts.map(lambda part: f"(?:x{part})*"),
    )


PATTERNS = st.recursive(
    st.tuples(ATOMS.filter(lambda atom: atom != r"\b"), REPEATS).map("".join) | ATOMS, larger, max_leaves=6
)


@given(PATTERNS, st.text("abcx ", max_size=12))
def test_a_pattern_finds_what_re_finds(pattern: str, text: str) -> None:
    found = re.search(pattern, text)
    group = found and (found[1] if found.re.groups else found[0])

    assert compile_linear(pattern).find_answer(text) == ((group or "").strip() or None)


@pytest.mark.parametrize(
    ("pattern", "text", "answer"),
    [
        (r"(?i)answer:\s*(.+)", "It is 3.\nANSWER:  42 \nBye.", "42"),
        (r"x=(\d+)", "x=1\nx=2", "2"),
        (r"<(.*?)>", "<a> and <b>", "a"),
        (r"<(.*)>", "<a> and <b>", "a> and <b"),
        (r"^(\w+)$", "one\ntwo words", "one"),
        (r"(?P<said>\d{2,3}) (km|mi)", "about 120 km", "120"),
        (r"(?:yes|no)", "no", "no"),
        (r"(é|ß)", "ß", "ß"),
        (r"\$(\d+)\.", "costs $5.", "5"),
        (r"never", "always", None),
        (r"mot: (\w+)", "mot: été", "été"),
        (r"(\W\D+)$", "é: ÿ", ": ÿ"),
        (r"n=(\d+)", "n=٤٢", "٤٢"),
        (r"\u00e9([a\u4e2d])", "é中", "中"),
        (r"([][]+)x", "a[]]x", "[]]"),
        (r"([a[]+)\.", "a[[.", "a[["),
        (r"^([\w.]+)\Z", "é.x", "é.x"),
        (r"(?iu)(a{,2}b)", "AAB", "AAB"),
        (r"x\s(y)", "x\u00a0y", "y"),
        (r"([\s\S])\.", "é.", "é"),
        (r"(\d*)", "none", None),
    ],
)
def test_the_first_group_of_the_last_line_that_has_one_is_the_answer(
    pattern: str, text: str, answer: str | None
) -> None:
    assert compile_linear(pattern).find_answer(text) == answer


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(a*)*b", "a?" * 50 + "a" * 50 + "b", "(.*)(.*)(.*)x"])
def test_no_pattern_hangs(pattern: str) -> None:
    assert compile_linear(pattern).find_answer("a" * MAX_TEXT + "c") is None


def test_only_the_end_of_a_long_text_is_searched() -> None:
    assert compile_linear("(here)").find_answer("here" + "." * MAX_TEXT) is None
    assert compile_linear("(here)").find_answer("." * MAX_TEXT + "here") == "here"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "no regular expression"),
        ("[", "no regular expression"),
        (r"(a)\1", "not supported"),
        ("(?=a)b", "not supported"),
        ("(?<!a)b", "not supported"),
        ("a*+", "not supported"),
        ("(?>a)", "not supported"),
        ("(?x)a", "not supported"),
        ("(?P<a>b)(?P=a)", "not supported"),
        (r"\N{EM DASH}", "not supported"),
        (r"\w{900}", "too large"),
        ("(?:(?:a{20}){20}){20}", "too large"),
        ("a{5000}", "too large"),
        ("(" * 2_000 + "a" + ")" * 2_000, "no regular expression"),
    ],
)
def test_what_cannot_be_searched_safely_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_linear(pattern)


def test_without_the_engine_a_pattern_is_refused_and_the_rest_works() -> None:
    program = """
import sys
sys.modules["re2"] = None
from moa_mcp.domain.regex import compile_linear
import moa_mcp.service.service
try:
    compile_linear("a")
except ValueError as error:
    print(error)
"""
    message = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "pip install google-re2" in message.stdout


def test_a_refused_pattern_writes_nothing_but_its_error() -> None:
    program = "from moa_mcp.domain.regex import compile_linear\ntry: compile_linear('(?=a)')\nexcept ValueError: pass"
    message = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (message.stdout, message.stderr) == ("", "")
