"""Find the answer that a draft states. A draft that states none has none: nothing is guessed from numbers in passing.

The forms are tried from the most to the least certain: the closing line that the question asked for, a box, a sentence
that says that it is the answer, the letter of a choice, the conclusion of a calculation, a draft that is itself short.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from moa_mcp.flows.compare import languages
from moa_mcp.flows.compare.latex import write_plainly
from moa_mcp.flows.compare.numbers import read_quantity, read_time

MAX_ANSWER_CHARS = 200
"""A longer text is not an answer that can be compared."""

MAX_SENTENCE_CHARS = 120
"""A draft of one sentence with up to this many characters can be an answer as a whole."""

MAX_PHRASE_WORDS = 6
MAX_NAME_WORDS = 4
MAX_UNSPACED_CHARS = 12
"""The length of a name in a script without spaces between words."""

_SEARCHED_CHARS = 4_000
"""How many of the last characters of a draft are searched, because an answer comes at the end."""


def _pattern(*parts: str) -> re.Pattern[str]:
    return re.compile("".join(parts), re.IGNORECASE | re.MULTILINE)


def _any(*words: str) -> str:
    """One of several parts of patterns, in which a space is any short blank."""
    return re.sub(r" (\??)", lambda blank: rf"[ \t]{{{0 if blank[1] else 1},3}}", f"(?:{'|'.join(words)})")


_START = r"(?<![^\W\d_])"
_AT_WORD = r"(?:(?<![^\W\d_])|(?<=[\u3040-\u9fff]))"
"""The beginning of a word; in Chinese and Japanese, words have no beginning that can be seen."""
_ADVERB = r"(?: (?:therefore|thus|then|donc|daher|also|portanto)\b)?"
_GAP = r"[ \t*_]{0,9}"
_REST = r"([^\n]{0,300})"
_FINAL = _pattern(_START, "final answer", _GAP, "[:：]", _GAP, _REST)
_LABEL = _pattern(
    r"(?:^[ \t*_#>-]{0,9}|(?<=[.!?。।])[ \t]{0,3})",
    _any(*languages.LABELS),
    _GAP,
    r"(?:[:：]|(?=\$|\\[(\[]))",
    _GAP,
    _REST,
)
_STATEMENT = _pattern(r"(?<![a-zà-ÿа-яё])", _any(*languages.STATEMENTS), r"[ \t*_:：,]{0,9}", _REST)
_RESULT = _pattern(r"(?<![a-zà-ÿа-яё])", _any(*languages.RESULTS), r"[ \t*_:：]{0,9}", _REST)
_OPENINGS = ("", "$$", "\\[")
"""What stands before an answer that is on the next line."""
_MATHS = r"(?:\$[^$\n]{1,120}\$|\\\([^\n]{1,120}?\\\))"
_REVERSED = _pattern(
    r"(?<![\w.,])(", _MATHS, r"|\(?[A-H]\)?|[-−]?\d[\d.,/%]{0,20})", r"[ \t*_]{0,9}", _any(languages.REVERSED)
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,9}\{")
_BETWEEN_BOXES = _pattern(
    r"(?:[\s,;$]|\\[()\[\],; ]|\\q?quad|\\text\s?\{\s?",
    _any(languages.CONNECTORS),
    r"\s?\}|",
    _any(languages.CONNECTORS),
    "){1,12}",
)
_ALL_MATHS = re.compile(r"\s{0,9}(?:\$\$?([^$\n]{1,200})\$\$?|\\\(([^\n]{1,200})\\\)|\\\[([^\n]{1,200})\\\])[\s.]{0,9}")
_ONLY_FORMULA = re.compile(r"[^$\n]{1,100}(?:[:：]|\bis) {0,3}\$([^$\n]{1,200})\$[\s.]{0,9}")
"""A sentence whose only formula closes it."""
_CLOSING_RELATION = re.compile(r"\$([^$\n]{1,80}(?:[=<>≤≥≠]|\\(?:leq?|geq?|neq?|lt|gt|in)\b)[^$\n]{1,80})\$$")

_BOLD = re.compile(r"(?<!\w)(?:\*\*|__)|(?:\*\*|__)(?!\w)")
_FENCE = re.compile(r"[ \t]{0,9}(?:```|~~~(?!~))")
_ABBREVIATION = r"(?<!\b[A-ZÀ-Ý])(?<!\bDr)(?<!\bMr)(?<!\bSt)(?<!\bMrs)(?<!\bNo)"
_SENTENCE_END = re.compile(
    rf"{_ABBREVIATION}(?<!\d)\.(?=\s|$)|(?<=\d)\.(?=\s{{1,9}}[^a-zä]|\s{{0,9}}$)|(?<![\d)])!(?=\s|$)|\?(?=\s|$)|[。।！？؟]"
)
_GERMAN_DATE = re.compile(r"(\d{1,2})\. (?=(?:jan|feb|mär|apr|mai|jun|jul|aug|sep|okt|nov|dez))", re.IGNORECASE)
_DOT = "\\1\u2024 "
"""A date such as "9. November" with a dot that ends no sentence."""
_ASIDE = _pattern(
    r",? (?:because|since|weil|denn|porque|parce que|car|потому что)\b|,(?: but)? not ",
    "|[;,] ?(?:which|but|aber|mais|pero|mas|но) ",
)
_PLACEHOLDER = re.compile(
    r"[\W_]{0,9}(?:…|\.\.\.|<|\[(?:your|the|insert|answer)\b|\{(?:your|answer)\b|(?:your|x{2,}) answer)", re.IGNORECASE
)
_CHOICE = re.compile(
    r"\(?([A-HА-ГJ])(?:\)|(?=[.,;:*]))(?![A-Za-z])"
    r"|([A-HА-Г])(?=\s{0,9}$|\s(?:because|since)\b|[^\x00-\u058f]|\s(?:है|।))"
)
_YES_NO = _pattern(
    "(", _any(*sorted(languages.YES | languages.NO, key=len, reverse=True)), r")(?=[\s.,;:!。、،।，：*—-]|$)"
)
_STANCE = re.compile(r"\s{0,9}([^\s.,;:!。、،।，：—]{1,9})[.,;:!。、،।，：—]")
_ENDS = _pattern(" ?", _any(languages.ENDS), "$")

_LONE_LETTER = re.compile(r"(?:\A|\n[ \t]{0,9}\n)[ \t_(>#]{0,9}\*?([A-H])\*?[ \t_).]{0,9}\Z")
_OPTION = _pattern(_START, _any(languages.OPTIONS), r"[\s*_:：(\"“]{1,6}([A-H])[)\"”]?[\s*_.。।!]{0,9}$")
_CHOSEN = re.compile(r"(?:选|選|选择|選擇)(?:择|擇|项|項)?\s{0,3}\(?([A-H])\)?[\s*_.。]{0,9}$")
_LAST_BRACKETS = re.compile(r"\(([A-H])\)[\s*_.。।]{0,9}$")
_LEADING_LETTER = re.compile(r"\s{0,9}\(?([A-H])[.):]\s{1,3}\S")

_CONCLUSION = _pattern(
    _AT_WORD,
    _any(languages.CONCLUSIONS),
    r"(?:(?![^\W\d_])|(?=[\u3040-\u9fff]|[a-z] ?=))",
)
_COPULA = _pattern(_AT_WORD, _any(languages.COPULAS), _ADVERB, "[*_$( ]{0,4}")
_EQUATION = re.compile(r"(?<![A-Za-z0-9_^*/+-])([a-zA-Z](?:_\{?\w\}?)?\s{0,3}=\s{0,3}[^\n=,;]{1,60})$")
_LONG_WORD = re.compile(r"(?<!\\)\b[^\W\d_]{3,}|`")
_WORD_OR_SIGN = re.compile(r"[^\W\d_]{3,}|[,;:$]")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
_SEVERAL = re.compile(r"\n|`{2}|[:：]$")
"""What no short reply has: several lines, code, or something that follows."""
_LEAD = _pattern("^", _any(languages.LEADS), r"(?![^\W\d_]) ?")
_SUBJECT = _pattern(
    "^",
    _any(languages.SUBJECTS),
    r"(?![^\W\d_]) ?[^,;:\n]{2,70}? (?:is|are|was|were|es|son|fue|est|sont|était|é|são|foi|ist|war|lautet)",
    _ADVERB,
    r" ([^\n]{1,60})$",
)
_CJK_SUBJECT = re.compile(r"[^，,。、\n]{1,20}[的の][^，,。、\n]{1,12}?(?:是|は|为|為)([^，,。、\n]{1,15})$")
_DASH_SUBJECT = re.compile(r"[А-Яа-яё ]{3,60} [—–-] ([^—,;:]{1,40})$")
_DEED = _pattern(
    r"^([^\W\d_][\w.' -]{1,40}) (?:wrote|painted|composed|discovered|invented|made|did|said|built|won|founded)",
    " (?:it|this|that|them)$",
)
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_PARTICIPLE = re.compile(r"[a-z]{2,30}(?:ed|ing|en)\b")
"""What follows "the answer is" where something happens to it: "the answer is returned"."""
_WORD = re.compile(r"\w+")


def find_answer(text: str, question: str = "") -> str | None:
    """The answer that `text` states, without markup around it; None if it states none.

    With `question`, a short sentence that repeats the question's words states the rest: to "What is the capital of
    France?", "Paris is the capital of France." states "Paris".
    """
    prose = _without_code(text).strip()
    end = prose[-_SEARCHED_CHARS:]
    for form in _FORMS:
        if answer := form(end):
            return answer
    return _stance(prose) or _short_reply(prose, question)


def _without_code(text: str) -> str:
    """The text without its fenced blocks and without bold markers."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside and not line.startswith(">>> "):
            lines.append(line)
    return _BOLD.sub("", "\n".join(lines))


def _final_line(text: str) -> str | None:
    """The closing line that a question asks for; a sentence in it is read like a draft of its own."""
    value = next(filter(None, (_value(found, text) for found in _last_first(_FINAL, text))), None)
    return value and (_box(value) or _stated(value) or _concluded(value) or _short_reply(value, "") or value)


def _labelled(text: str) -> str | None:
    return next(filter(_is_short, (_value(found, text) for found in _last_first(_LABEL, text))), None)


def _stated(text: str) -> str | None:
    values = (_value(found, text) for found in _last_first(_STATEMENT, text))
    fitting = (value for value in values if value and _is_short(value) and not _PARTICIPLE.match(value))
    return next(fitting, None) or next((_clean(found[1]).strip("()") for found in _last_first(_REVERSED, text)), None)


def _box(text: str) -> str | None:
    """The content of the last box, which may have braces itself, or of all boxes in its list; None if it is open."""
    boxes: list[str] = []
    end = -1
    for found in _BOX.finditer(text):
        if found.start() < end:
            continue  # a box in a box
        is_listed = (
            boxes and len(text[end : found.start()]) <= 40 and _BETWEEN_BOXES.fullmatch(text, end, found.start())
        )
        end = _closing_brace(text, found.end())
        boxes = [*(boxes if is_listed else ()), text[found.end() : end - 1].strip()]
    answer = ", ".join(boxes)
    return answer[:MAX_ANSWER_CHARS] if answer and end > 0 else None


def _closing_brace(text: str, start: int) -> int:
    """The place behind the brace that closes the one before `start`; 0 if there is none."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place + 1
    return 0


def _chosen_letter(text: str) -> str | None:
    """The letter of a choice, where it ends the text, or begins a text of one line."""
    last = text.rpartition("\n")[2]
    found = _LONE_LETTER.search(text) or _OPTION.search(last) or _CHOSEN.search(last) or _LAST_BRACKETS.search(last)
    if found is None and "\n" not in text and len(text) <= MAX_ANSWER_CHARS:
        found = _LEADING_LETTER.match(text)
    return found[1] if found else None


def _concluded(text: str) -> str | None:
    """A number or an equation with which the last sentence, a conclusion or the only sentence, ends."""
    sentence = _last_sentence(text)
    for phrase in _last_first(_RESULT, sentence):
        if (value := _clip(phrase[1])) and (_is_value(value) or _EQUATION.fullmatch(value)):
            return value
    if formula := _ALL_MATHS.fullmatch(text) or _ONLY_FORMULA.fullmatch(text):
        return formula[formula.lastindex or 0].strip()
    is_alone = sentence == text and len(text) <= MAX_SENTENCE_CHARS and not _SEVERAL.search(text)
    if not is_alone and not _CONCLUSION.search(sentence):
        return None
    closing = _clean(_ENDS.sub("", _ASIDE.split(sentence)[0] if is_alone else sentence))
    if (equation := _EQUATION.search(closing)) and (
        _is_value(equation[1].partition("=")[2]) or not _LONG_WORD.search(equation[1])
    ):
        return equation[1].strip()
    if relation := _CLOSING_RELATION.search(closing):
        return relation[1].strip()
    copulas = (found for found in _last_first(_COPULA, closing) if not _is_equation(found, closing))
    values = (_clean(closing[found.end() :]) for found in copulas)
    return next((value for value in values if _is_value(value) and not _YEAR.fullmatch(value)), None)


def _is_equation(sign: re.Match[str], sentence: str) -> bool:
    """Whether a match is an equals sign with a variable to its left, as in `a + 3z = 0`."""
    left = _WORD_OR_SIGN.split(sentence[max(0, sign.start() - 80) : sign.start()])[-1]
    return sign[0].lstrip().startswith("=") and any(map(str.isalpha, left))


def _stance(text: str) -> str | None:
    """The yes or no with which a text begins."""
    found = _STANCE.match(text)
    return found[1] if found and found[1].casefold() in languages.YES | languages.NO else None


def _short_reply(text: str, question: str) -> str | None:
    """The answer of a draft that is only a name, a phrase, or a short sentence."""
    reply = _clip(text)
    if not reply or len(text) > MAX_SENTENCE_CHARS or _SEVERAL.search(text) or _last_sentence(text) != text:
        return None
    plain = _ENDS.sub("", reply)
    if lead := _LEAD.match(plain):
        rest = _clean(plain[lead.end() :]).rstrip("!")
        is_phrase = rest[:1].islower() and len(rest.split()) > 2
        return rest if _is_value(rest) or (_is_name(rest) and not is_phrase) else None
    if beyond := _beyond_question(plain, question):
        return beyond
    found = _SUBJECT.match(plain) or _CJK_SUBJECT.match(plain) or _DASH_SUBJECT.match(plain) or _DEED.match(plain)
    if found:
        value = _clean(found[1])
        is_formula = _ALL_MATHS.fullmatch(found[1]) is not None
        return value if is_formula or _is_value(value) or (_is_name(value) and not value[0].islower()) else None
    return plain if _is_value(plain) or _is_name(plain) else None


def _beyond_question(sentence: str, question: str) -> str | None:
    """The words of a sentence that are not in the question, if they are one short run and the others are its words."""
    asked = {word.casefold() for word in _WORD.findall(question)}
    words = list(_WORD.finditer(sentence))
    new = [place for place, word in enumerate(words) if word[0].casefold() not in asked]
    repeats = any(len(word[0]) > 3 for place, word in enumerate(words) if place not in new)
    if not new or not repeats or len(new) > MAX_NAME_WORDS or new[-1] - new[0] != len(new) - 1:
        return None
    run = sentence[words[new[0]].start() : words[new[-1]].end()]
    return run if _is_name(run) or _is_value(run) else None


def _value(found: re.Match[str], text: str) -> str | None:
    """The answer behind a label or a phrase: the rest of its line, or, if that is empty, the next line that is not."""
    rest = found[1].strip(" \t*_")
    if rest in _OPENINGS:
        following = (line.strip(" \t>") for line in text[found.end() :].splitlines()[:4])
        rest = next(filter(None, following), "")[:300]
    return None if _PLACEHOLDER.match(rest) else _clip(rest)


def _clip(rest: str) -> str | None:
    """The answer at the beginning of `rest`: the letter of a choice, a yes or no, or the rest of the sentence."""
    rest = rest.strip(" \t*_`\"“”'")
    if found := _CHOICE.match(rest):
        return found[1] or found[2]
    if (found := _YES_NO.match(rest)) and (
        rest[found.end() :].strip()[:1] in " .,;:!。、،।，：*—-" or len(rest) == found.end()
    ):
        return found[1]
    sentence = _SENTENCE_END.split(_GERMAN_DATE.sub(_DOT, rest), maxsplit=1)[0]
    answer = _clean(_ENDS.sub("", _clean(_ASIDE.split(sentence, maxsplit=1)[0])))
    return answer if answer and len(answer) <= MAX_ANSWER_CHARS and any(map(str.isalnum, answer)) else None


def _clean(answer: str) -> str:
    answer = answer.replace("\u2024", ".").strip(' \t,;:*_`"“”„»«「」。、।，：').rstrip(". ")
    if answer[:2] + answer[-2:] in (r"\(\)", r"\[\]"):
        answer = answer[2:-2].strip()
    is_maths = answer[:1] == answer[-1:] == "$" and answer.strip("$").count("$") == 0 and len(answer) > 2
    return answer.strip("$ ") if is_maths else answer


def _is_value(text: str) -> bool:
    """Whether a text is a number, with or without a unit, or a time of day."""
    plain = write_plainly(text).strip(" .")
    return (read_quantity(plain) or read_time(plain)) is not None


def _is_short(answer: str | None) -> bool:
    """Whether the text behind "the answer is" is an answer, and not the rest of a sentence about it."""
    if answer is None:
        return False
    words = answer.casefold().split()
    is_stance = answer.casefold() in languages.YES | languages.NO
    return is_stance or (len(words) <= MAX_PHRASE_WORDS and len(answer) <= 80 and words[0] not in languages.NO_ANSWERS)


def _is_name(text: str) -> bool:
    """Whether a text can be a name or a term: few words, none of which begins a sentence about something else."""
    words = text.casefold().split()
    is_plain = text[:1].isalnum() and not any(sign in text for sign in ";:=<>[]{}()|/\\#…?!") and text.count(",") <= 1
    if _UNSPACED.search(text):
        return is_plain and len(text) <= MAX_UNSPACED_CHARS and "," not in text
    return is_plain and len(words) <= MAX_NAME_WORDS and len(text) <= 40 and words[0] not in languages.NO_ANSWERS


def _last_sentence(text: str) -> str:
    line = text.rpartition("\n")[2]
    ends = [
        found.end()
        for found in _SENTENCE_END.finditer(_GERMAN_DATE.sub(_DOT, line))
        if found.end() < len(line.rstrip())
    ]
    return line[ends[-1] :].strip() if ends else line if "\n" in text else text


def _last_first(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    return reversed(list(pattern.finditer(text)))


_FORMS: tuple[Callable[[str], str | None], ...] = (_final_line, _box, _labelled, _stated, _chosen_letter, _concluded)
