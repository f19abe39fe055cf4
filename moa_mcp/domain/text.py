"""Text hygiene: what every text passes on its way in from a model and on its way into a prompt.

Pure functions over strings. What the words of a prompt are is not decided here (see prompts/panel.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

_THINK_TAG = re.compile(r"</?think(?:ing)?>", re.IGNORECASE)
# ECMA-48: a control sequence, an operating-system command up to its end, any other two-character escape.
_ESCAPE = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])"

# What a reader does not see and a model or a terminal obeys: control characters but tab and newline, format characters
# and all that Unicode calls default-ignorable, letters and signs that are drawn as nothing, noncharacters.
_INVISIBLE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_SELECTOR = "[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
_EMOJI = "\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u27ff\u2801-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_IDEOGRAPHS = (
    "\u2e80-\u2fdf\u3001\u3002\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01\uff0c\uff0e\uff1a\uff1b\uff1f"
    "\U00020000-\U000323af"
)
_MONGOLIAN = "\u1820-\u18aa"
_JOINING = (  # scripts that are written with joiners
    "\u0600-\u061b\u061d-\u08ff\u0900-\u0dff\u0e00-\u109f\u1780-\u17b3\u17b6-\u180a\u1810-\u18af\ufb50-\ufdcf"
    "\ufdf0-\ufdff\ufe70-\ufefc"
)
_DRAWN = f"[{_EMOJI}](?:[\ufe0e\ufe0f](?!{_SELECTOR}))?"
_FLAGS = "|".join(  # the three that are spelled with tags
    "".join(chr(0xE0000 + ord(letter)) for letter in region) for region in ("gbeng", "gbsct", "gbwls")
)
# Where such characters are part of what is seen. No selector follows another: a run of them spells hidden words.
_SEEN = "|".join(
    (
        f"[0-9#*]\ufe0f\u20e3(?!{_SELECTOR})",
        f"\U0001f3f4(?:{_FLAGS})\U000e007f",
        f"[\u1000-\u109f\u2205-\u2aff\ua840-\ua877]\ufe00(?!{_SELECTOR})",
        "[\u2801-\u28ff]\u2800(?=[\u2801-\u28ff])",
        f"{_DRAWN}(?:\u200d{_DRAWN})*",
        f"[{_IDEOGRAPHS}][\ufe00-\ufe02\U000e0100-\U000e01ef](?!{_SELECTOR})",
        f"[{_MONGOLIAN}](?:[\u180b-\u180d\u180f](?!{_SELECTOR}))?[\u180e\u200c\u200d]?",
        f"[{_JOINING}][\u200c\u200d]",
    )
)
_HAS_INVISIBLE = re.compile(f"[{_INVISIBLE}]")
_PARTS = re.compile(f"({_SEEN})|{_ESCAPE}|\x1b|(?:(?!\x1b)[{_INVISIBLE}])+")


def fix_surrogates(text: str) -> str:
    """Join surrogate halves that a provider split over two pieces, and replace lone ones by U+FFFD.

    A lone surrogate cannot be encoded as UTF-8, so one of them would end a stdio server, an HTTP request
    or a database write far from where it came in.
    """
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def strip_invisible(text: str) -> str:
    """`text` as others read it: without what cannot be seen in it, newlines and tabs kept; `\\r\\n` is one newline.

    What is stored is as it was sent. This is for what goes to another model, to an MCP client or to a terminal.
    Emoji, ideographs and scripts that are written with invisible characters keep them.
    """
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return _PARTS.sub(r"\1", text) if _HAS_INVISIBLE.search(text) else text


def cleaned(value: Any) -> Any:
    """JSON with every text of it repaired and cleaned."""
    if isinstance(value, str):
        return strip_invisible(fix_surrogates(value))
    if isinstance(value, Mapping):
        return {cleaned(key): cleaned(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in cast("Sequence[Any]", value)]
    return value


class Cleaner:
    """Cleans a text while it comes in: what a character is part of may be known only when the next one is there."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take the next piece and return what can be shown by now."""
        text = self._held + piece
        end = _settled(text)
        self._held = text[end:]
        return strip_invisible(text[:end])

    def close(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return strip_invisible(held)


_MAX_HELD = 64
"""Characters that are held back; no emoji is made of as many."""

_GOES_ON = re.compile(f"[{_INVISIBLE}{_EMOJI}]")
_BEGINS = re.compile(f"[0-9#*{_IDEOGRAPHS}{_JOINING}]")


def _settled(text: str) -> int:
    """Up to where nothing that may follow `text` can change what is seen of it."""
    end, least = len(text), max(0, len(text) - _MAX_HELD)
    while end > least and _GOES_ON.match(text, end - 1):
        end -= 1
    return end - 1 if end and _BEGINS.match(text, end - 1) else end


def escaped(text: str) -> str:
    """`text` with what `strip_invisible` would take out shown as `\\u202e`: for a person who decides on what they
    see.
    """
    return _PARTS.sub(lambda part: part[1] or part[0].encode("unicode_escape").decode(), text)


def split_thinking(text: str) -> tuple[str, str]:
    """Part a whole reply into (what it says, what it thought), both stripped; see `ThinkingParser`."""
    thoughts = ThinkingParser()
    visible = thoughts.feed(text) + thoughts.end()
    return visible.strip(), "\n\n".join(part for piece in thoughts.parts if (part := piece.strip()))


class ThinkingParser:
    """Parts a reply from its thoughts while it comes in; `parts` are the thoughts by now.

    What stands between `<think>` tags, nested ones too, is thought. A tag in code, in quotes or in the midst of a
    sentence is text that speaks of tags. An opening tag that begins a line and is never closed takes all that
    follows (the thought was cut off), another one takes nothing; a closing tag that was never opened takes all
    before it (the chat template ate the opening one). One pass, for a model may write as many tags as it likes.
    """

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._depth = 0
        self._thought: list[str] = []
        self._doubtful = False
        self._spoken_of = False
        self._line = _Line()
        self._unread: list[str] = []  # what the line goes on by: looked at only where a tag follows

    def feed(self, text: str, after: str = "") -> str:
        """What is said in the next piece, in which no tag is cut off; `behind` is the character that follows it."""
        if "<" not in text and not self._depth:
            self._unread.append(text)
            return text
        visible: list[str] = []
        start = 0
        for tag in _THINK_TAG.finditer(text):
            self._take(text[start : tag.start()], visible)
            self._read(tag[0], text[tag.end() : tag.end() + 1] or after, visible)
            start = tag.end()
        self._take(text[start:], visible)
        return "".join(visible)

    def end(self) -> str:
        """What turns out to be said after all, now that no closing tag can come any more."""
        rest, self._thought = "".join(self._thought), []
        if not self._doubtful:
            self.parts.append(rest)
        return rest if self._doubtful else ""

    def _take(self, text: str, visible: list[str]) -> None:
        self._unread.append(text)
        (self._thought if self._depth else visible).append(text)

    def _read(self, tag: str, after: str, visible: list[str]) -> None:
        closing = tag[1] == "/"
        if self._is_text(closing, after):
            self._take(tag, visible)
            return
        if closing:
            self._close(tag, visible)
        else:
            self._open(tag)
        self._line = _Line()
        self._unread.clear()

    def _open(self, tag: str) -> None:
        if self._depth == 0:
            self._doubtful = not self._line.is_blank
        self._part_here(tag)
        self._depth += 1

    def _close(self, tag: str, visible: list[str]) -> None:
        if self._depth == 0:
            self.parts += visible
            visible.clear()
            return
        self._depth -= 1
        if self._depth == 0 and self._doubtful:
            self._thought[0] = ""  # the opening tag, kept for the case that none closes it
            self._doubtful = False
        self._part_here(tag)

    def _part_here(self, tag: str) -> None:
        """Begin another part of the thoughts, or keep the tag where they may yet turn out to be text."""
        if self._doubtful:
            self._thought.append(tag)
        else:
            self.parts.append("".join(self._thought))
            self._thought = []

    def _is_text(self, closing: bool, after: str) -> bool:
        line = self._line
        line.go_on("".join(self._unread))
        self._unread.clear()
        if self._depth == 0 and line.is_code:
            return True
        if line.is_blank:
            return False
        quoted = line.end[-1] in _QUOTE_BEFORE
        if quoted and after in _QUOTE_BEHIND:
            return True
        if closing and self._depth:
            return False
        if closing and self._spoken_of:
            self._spoken_of = False
            return True
        in_sentence = (quoted or _IN_SENTENCE.fullmatch(line.end) is not None) and after in _SENTENCE_GOES_ON
        self._spoken_of = self._spoken_of or (in_sentence and not closing and self._depth == 0)
        return in_sentence


_QUOTE_BEFORE = "`'\"\u201c\u2018\u00ab(["
_QUOTE_BEHIND = "`'\"\u201d\u2019\u00bb)]"
_IN_SENTENCE = re.compile(r"[^\s.!?:\u2026\u3002\uff01\uff1f][ \t]")
_SENTENCE_GOES_ON = f" \t,.;:!?\u2026{_QUOTE_BEHIND}"


class _Line:
    """The line up to some place of a text: how it begins, how it ends, and whether that is within code."""

    def __init__(self) -> None:
        self.end = ""
        self._start = ""
        self._ticks = 0
        self._fenced = False

    def go_on(self, text: str) -> None:
        """Move the place behind `text`."""
        first, *others = text.split("\n")
        self._lengthen(first)
        for line in others:
            self._fenced ^= self._start in ("```", "~~~")
            self.end, self._start, self._ticks = "", "", 0
            self._lengthen(line)

    @property
    def is_blank(self) -> bool:
        return not self._start

    @property
    def is_code(self) -> bool:
        return self._fenced or self._ticks % 2 == 1

    def _lengthen(self, text: str) -> None:
        self.end = (self.end + text[-2:])[-2:]
        self._ticks += text.count("`")
        if len(self._start) < 3:
            self._start = (self._start + text).lstrip()[:3]


def fence(text: str, label: str, nonce: str) -> str:
    """Enclose untrusted `text`, cleaned, in markers that it cannot forge: any copy of `nonce` in it is broken up."""
    inert = re.sub(re.escape(nonce), f"{nonce[:4]}…", strip_invisible(text), flags=re.IGNORECASE)
    return f"<<{label} {nonce}>>\n{inert}\n<<end of {label} {nonce}>>"


OMISSION_MARK = "\n[… the middle of this text is left out …]\n"

_WRITTEN_BY_MODELS = r"draft \d+|candidate [A-Z]{1,2}|advice \d+|(?:earlier |later )?reply(?: of Model \d+)?"
"""The labels of what may be shortened: never what the caller wrote, such as the question that a judge is shown."""


def shorten_drafts(text: str, nonce: str) -> str:
    """`text` with each draft in the fences of `nonce` cut to its first 35 and last 15 hundredths; the rest as it is."""
    fenced = re.compile(
        rf"(<<(?P<label>{_WRITTEN_BY_MODELS}) {nonce}>>\n)(?P<body>.*?)(\n<<end of (?P=label) {nonce}>>)", re.DOTALL
    )
    return fenced.sub(_shorten, text)


def _shorten(fenced: re.Match[str]) -> str:
    body = fenced["body"]
    if len(body) < 10 * len(OMISSION_MARK):
        return fenced[0]
    head, tail = len(body) * 35 // 100, len(body) * 15 // 100
    return f"{fenced[1]}{body[:head]}{OMISSION_MARK}{body[-tail:]}{fenced[4]}"


def one_line(text: str, limit: int = 200) -> str:
    """Fold `text` into one printable line of at most `limit` characters, for messages and logs."""
    line = " ".join(strip_invisible(fix_surrogates(text)).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
