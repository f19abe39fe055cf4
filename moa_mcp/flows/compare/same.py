"""Compare two answers by their form: numbers, units, times, dates, letters, yes or no, sets and intervals, names.

A false match is a wrong vote, a missed one only a weaker vote: what is in doubt is different.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, TypeAlias

from moa_mcp.flows.compare import languages
from moa_mcp.flows.compare.dates import read_date
from moa_mcp.flows.compare.find import MAX_ANSWER_CHARS
from moa_mcp.flows.compare.latex import write_plainly
from moa_mcp.flows.compare.numbers import Quantity, read_quantity, read_time

Kind: TypeAlias = Literal["stance", "letter", "number", "time", "date", "list", "formula", "words"]

MAX_LIST_DEPTH = 3

_MARKS = ' \t\n*`"“”'
_EDGE = re.compile(r"[ .,;:。।]{1,9}$|(?<![\d)])!{1,9}$")
"""The end of a sentence; behind a number, an exclamation mark is a factorial."""
_LETTER = re.compile(r"\(?([A-Ha-h])(?:\)|[.:](?=\s|$)|$)(?:[\s,].*)?", re.DOTALL)
_VARIABLE = re.compile(r"^[A-Za-z](?:_\w|\([A-Za-z]\))?\s?=\s?(?=[^=])")
_TUPLE_OF_VARIABLES = re.compile(r"^\([a-z](?:, ?[a-z]){1,5}\) ?= ?(?=\()")
_CONNECTOR = re.compile(r"(?:, ?)?(?<=[\d\s)}\],])(?:and|or|et|ou|und|oder|или|أو|和|或)(?=[\d\s({\[-])", re.IGNORECASE)
_ALIKE = ({""}, {"{}"}, {"()"}, {"[]"}, {"[)"}, {"(]"}, {"]["}, {"", "{}"})
"""Which brackets are the same."""
_MEMBERSHIP = re.compile(r"^[A-Za-z]\s?∈\s?(?=[\[({])")
_RELATION = re.compile(r"[<>≤≥]")
_TURNED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}
_FORMULA = re.compile(
    r"[=<>≤≥≠^√*+∪∩±∞π_|]|\d\s?[a-z]|[a-zA-Z0-9)]\s?[-/]\s?[(\d]|[(\d]\s?[-/]\s?[a-zA-Z(]|-[a-z0-9]\b"
)
_ARTICLE = re.compile(r"(?:the|a|an|el|la|los|las|le|les|l'|der|die|das|o|os|as|il|lo) ?(?<=[ '])(?=\S)")
_SURNAME_FIRST = re.compile(r"([^\W\d_][\w'-]{1,40}), ([^\W\d_][\w'.-]{0,40}(?: [^\W\d_][\w'.-]{0,40}){0,2})")
_PUNCTUATION = re.compile(r"[\"'“”‘’`*_.!?;:,]+")


@dataclass(frozen=True, slots=True)
class Form:
    """An answer in its normal form: `text` is the same for answers that are the same, but for a unit that is left out.

    `stated` is the answer as it was written.
    """

    kind: Kind
    text: str
    stated: str = field(default="", compare=False)
    quantity: Quantity | None = None
    brackets: str = ""
    items: tuple[Form, ...] = ()

    @property
    def has_unit(self) -> bool:
        return self.quantity is not None and self.quantity.unit != ""

    @property
    def is_formula(self) -> bool:
        """Whether the answer is mathematics, which may be the same in another form."""
        return self.kind in ("formula", "list", "number", "time") or "\\" in self.stated

    @property
    def is_closed(self) -> bool:
        """Whether the form alone decides: two such answers with different texts are different."""
        return self.kind in ("stance", "letter", "time") or (self.kind == "number" and not self.has_unit)


def same_answer(a: str, b: str) -> bool:
    """Whether two answers say the same, as far as their forms show it."""
    return same_form(read_form(a), read_form(b))


def same_form(a: Form, b: Form) -> bool:
    """Whether two forms say the same."""
    if a.kind != b.kind or not (a.text and b.text):
        return False
    if a.quantity and b.quantity:
        units = {a.quantity.unit, b.quantity.unit}
        return a.quantity.value == b.quantity.value and (len(units) == 1 or "" in units)
    if a.items or b.items:
        return {a.brackets, b.brackets} in _ALIKE and _same_items(a, b)
    return a.text == b.text


@lru_cache(maxsize=4_096)
def read_form(answer: str) -> Form:
    """The normal form of an answer of up to `MAX_ANSWER_CHARS` characters; a longer one is cut there."""
    stated = answer[:MAX_ANSWER_CHARS].strip(_MARKS)
    return replace(_read(_EDGE.sub("", write_plainly(stated).strip(_MARKS).lstrip(",;:!")), 0), stated=stated)


def _read(plain: str, depth: int) -> Form:
    if stance := _read_stance(plain):
        return Form("stance", stance)
    if letter := _LETTER.fullmatch(plain):
        return Form("letter", letter[1].lower())
    value = _VARIABLE.sub("", plain, count=1) if plain.count("=") == 1 else plain
    value = _TUPLE_OF_VARIABLES.sub("", _MEMBERSHIP.sub("", value, count=1), count=1)
    if time := read_time(value):
        return Form("time", time)
    if quantity := read_quantity(value):
        return Form("number", str(quantity), quantity=quantity)
    if date := read_date(value):
        return Form("date", date)
    return _read_list(value, depth) or _read_formula(value) or Form("words", _usual_words(value))


def _read_stance(plain: str) -> str | None:
    folded = plain.casefold()
    return "yes" if folded in languages.YES else "no" if folded in languages.NO else None


def _read_list(plain: str, depth: int) -> Form | None:
    """A set, a tuple, an interval, or several answers: the brackets, and the form of each part.

    The parts of a set are sorted, and so are solutions, which name their variable or are tuples.
    """
    if depth >= MAX_LIST_DEPTH or len(plain) < 3:
        return None
    has_brackets = plain[0] in "([{" and plain[-1] in ")]}[" and _split_list(plain[1:-1], ",;") is not None
    parts = _split_list(plain[1:-1], ",;") if has_brackets else _split_list(_CONNECTOR.sub(",", plain), ",;")
    if parts is None or (len(parts) < 2 and plain[0] != "{"):
        return None
    items = [_read(part, depth + 1) for part in parts]
    if not has_brackets and any(item.kind == "words" for item in items):
        return None
    brackets = plain[0] + plain[-1] if has_brackets else ""
    if not has_brackets and (all(map(_VARIABLE.match, parts)) or all(item.items for item in items)):
        brackets = "{}"
    if brackets == "{}":
        items.sort(key=lambda item: item.text)
    text = f"{brackets[:1]}{', '.join(item.text for item in items)}{brackets[1:]}"
    return Form("list", text, brackets=brackets, items=tuple(items))


def _split_list(inner: str, separators: str) -> list[str] | None:
    """The parts between commas or semicolons that are in no brackets; None if the brackets do not match."""
    parts, depth = [""], 0
    for sign in inner:
        depth += (sign in "([{") - (sign in ")]}")
        if depth < 0:
            return None
        if sign in separators and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    parts = [part.strip() for part in parts]
    return parts if depth == 0 and all(parts) else None


def _same_items(a: Form, b: Form) -> bool:
    return len(a.items) == len(b.items) and all(map(same_form, a.items, b.items))


def _read_formula(plain: str) -> Form | None:
    """A formula without blanks; an inequality `5 < x` is turned to `x > 5`."""
    if not _FORMULA.search(plain) or (len(plain.split()) > 1 and _has_words(plain)):
        return None
    tight = plain.replace(" ", "").replace("*", "")
    signs = _RELATION.findall(tight)
    if len(signs) == 1:
        left, right = tight.split(signs[0])
        if not any(map(str.isalpha, left)) and any(map(str.isalpha, right)):
            tight = f"{right}{_TURNED[signs[0]]}{left}"
    return Form("formula", tight)


def _has_words(plain: str) -> bool:
    return any(len(word) > 4 and word.isalpha() for word in plain.split())


def _usual_words(plain: str) -> str:
    """Words without case, accents, articles and punctuation; "Surname, First" becomes "first surname"."""
    found = _SURNAME_FIRST.fullmatch(plain)
    plain = f"{found[2]} {found[1]}" if found else plain
    folded = "".join(one for one in unicodedata.normalize("NFD", plain.casefold()) if not _is_latin_accent(one))
    folded = _ARTICLE.sub("", folded, count=1) if _ARTICLE.match(folded) else folded
    return " ".join(_PUNCTUATION.sub(" ", unicodedata.normalize("NFC", folded)).split())


def _is_latin_accent(sign: str) -> bool:
    return "\u0300" <= sign <= "\u036f"
