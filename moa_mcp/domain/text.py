"""Cleans text that comes from a model or goes into a prompt.

Pure functions on strings. The prompts themselves are in `prompts/`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

_THINK_TAG = re.compile(
    r"</?(?P<word>think(?:ing)?|thought)>|<\|(?P<token>start|channel|constrain|message|end|return|call)\|>",
    re.IGNORECASE,
)
_HARMONY_HEADER = re.compile(
    r"(?:<\|start\|>\w[^<]*+)?(?:<\|channel\|>(?P<channel>\w++)[^<]*+(?:<\|constrain\|>[^<]*+)?)?<\|message\|>",
    re.IGNORECASE,
)
_MAX_HARMONY_HEADER = 200
# ECMA-48: a control sequence, an operating-system command up to its end, any other two-character escape.
_ESCAPE = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])"

# Characters that a reader does not see but a model or a terminal interprets: control characters except tab and
# newline, format characters, all default-ignorable characters of Unicode, blank letters and signs, noncharacters.
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
_JOINING = (  # scripts that use joiners
    "\u0600-\u061b\u061d-\u08ff\u0900-\u0dff\u0e00-\u109f\u1780-\u17b3\u17b6-\u180a\u1810-\u18af\ufb50-\ufdcf"
    "\ufdf0-\ufdff\ufe70-\ufefc"
)
_DRAWN = f"[{_EMOJI}](?:[\ufe0e\ufe0f](?!{_SELECTOR}))?"
_FLAGS = "|".join(  # the three flags that are encoded with tag characters
    "".join(chr(0xE0000 + ord(letter)) for letter in region) for region in ("gbeng", "gbsct", "gbwls")
)
# Invisible characters that are part of a visible one. Two selectors in a row are removed: a run can hide words.
_VISIBLE = "|".join(
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
_PARTS = re.compile(f"({_VISIBLE})|{_ESCAPE}|\x1b|(?:(?!\x1b)[{_INVISIBLE}])+")


def fix_surrogates(text: str) -> str:
    """Join surrogate pairs that a provider split over two pieces, and replace lone surrogates by U+FFFD.

    A lone surrogate cannot be encoded as UTF-8, so it would break a stdio server, an HTTP request or a database
    write far from its source.
    """
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def strip_invisible(text: str) -> str:
    """Remove invisible characters from `text`. Newlines and tabs stay; `\\r\\n` becomes one newline.

    For text that goes to another model, to an MCP client or to a terminal; stored text stays as it was sent.
    Emoji, ideographs and scripts that need invisible characters keep them.
    """
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return _PARTS.sub(r"\1", text) if _HAS_INVISIBLE.search(text) else text


def cleaned(value: Any) -> Any:
    """Return a JSON value with every text in it repaired and cleaned."""
    if isinstance(value, str):
        return strip_invisible(fix_surrogates(value))
    if isinstance(value, Mapping):
        return {cleaned(key): cleaned(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in cast("Sequence[Any]", value)]
    return value


class Cleaner:
    """Cleans a text while it streams in. It holds back characters whose meaning depends on the next character."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Add the next piece and return the text that can be shown now."""
        text = self._held + piece
        end = _stable_end(text)
        self._held = text[end:]
        return strip_invisible(text[:end])

    def close(self) -> str:
        """Return the text that was held back."""
        held, self._held = self._held, ""
        return strip_invisible(held)


_MAX_HELD = 64
"""The most characters to hold back; no emoji is that long."""

_MAY_CONTINUE = re.compile(f"[{_INVISIBLE}{_EMOJI}]")
_MAY_BEGIN = re.compile(f"[0-9#*{_IDEOGRAPHS}{_JOINING}]")


def _stable_end(text: str) -> int:
    """Return the end of the part of `text` whose look no following text can change."""
    end, least = len(text), max(0, len(text) - _MAX_HELD)
    while end > least and _MAY_CONTINUE.match(text, end - 1):
        end -= 1
    return end - 1 if end and _MAY_BEGIN.match(text, end - 1) else end


def escaped(text: str) -> str:
    """Show what `strip_invisible` would remove as JSON escapes like `\\u202e`: a user sees it, and JSON stays equal."""
    return _PARTS.sub(lambda part: part[1] or json.dumps(part[0])[1:-1], text)


def split_thinking(text: str) -> tuple[str, str]:
    """Split a whole reply into (visible text, thoughts), both stripped; see `ThinkingParser`."""
    thoughts = ThinkingParser()
    visible = thoughts.feed(text) + thoughts.end()
    return visible.strip(), "\n\n".join(part for piece in thoughts.parts if (part := piece.strip()))


class ThinkingParser:
    """Separates a reply from its thoughts while it streams in; `parts` holds the thoughts so far.

    Text between `<think>` or `<thought>` tags, also nested ones, is thought. A tag in code, in quotes or in the middle
    of a sentence is ordinary text. If an opening tag begins a line and is never closed, all text after it is thought
    (the thought was cut off); an unclosed tag elsewhere is ordinary text. If a closing tag was never opened, all text
    before it is thought (the chat template contained the opening tag). One pass, because the number of tags is not
    limited.

    A reply that begins with a header of OpenAI's harmony format (the gpt-oss models, if their server does not parse
    it) is a row of messages; only those in the channel `final` are visible. A header is
    `<|start|>assistant<|channel|>analysis<|message|>`, and its message ends at `<|end|>`, `<|return|>` or `<|call|>`.
    """

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._depth = 0
        self._thought: list[str] = []
        self._doubtful = False
        self._mentioned = False
        self._word = ""  # what the tag is called that opened the thought
        self._begun = False
        self._is_harmony = False
        self._header = ""
        self._line = _Line()
        self._unread: list[str] = []  # the rest of the line, which `_line` reads only if a tag follows

    def feed(self, text: str, after: str = "") -> str:
        """Return the visible text of the next piece, which must not end within a tag; `after` is the next character."""
        if "<" not in text and self._begun and not self._depth and not self._header:
            self._unread.append(text)
            return text
        visible: list[str] = []
        start = 0
        for tag in _THINK_TAG.finditer(text):
            self._take(text[start : tag.start()], visible)
            read = self._read_token if tag["token"] else self._read_tag
            read(tag, text[tag.end() : tag.end() + 1] or after, visible)
            start = tag.end()
        self._take(text[start:], visible)
        return "".join(visible)

    def end(self) -> str:
        """End the reply. Return the text after a doubtful opening tag that was never closed: it is visible text."""
        rest, self._thought = "".join(self._thought), []
        if not self._doubtful:
            self.parts.append(rest)
        no_header = "" if self._is_harmony else self._header
        return rest if self._doubtful else no_header

    def _take(self, text: str, visible: list[str]) -> None:
        if self._header:
            self._lengthen_header(text, visible)
            return
        self._begun = self._begun or bool(text.strip())
        self._unread.append(text)
        (self._thought if self._depth else visible).append(text)

    def _read_tag(self, tag: re.Match[str], after: str, visible: list[str]) -> None:
        closing, word = tag[0][1] == "/", tag["word"].lower().removesuffix("ing")
        if self._header or (self._depth and word != self._word) or self._is_text(closing, after):
            self._take(tag[0], visible)
            return
        if closing:
            self._close(tag[0], visible)
        else:
            self._open(tag[0], word)
        self._begin_line()

    def _read_token(self, tag: re.Match[str], after: str, visible: list[str]) -> None:
        """Read a token of the harmony format; it is ordinary text in a reply that does not begin with one."""
        token = tag["token"].lower()
        begins, ends = token in ("start", "channel"), token in ("end", "return", "call")
        if self._header:
            self._lengthen_header(tag[0], visible)
        elif not (begins or (ends and self._is_harmony)) or not self._is_between_messages(ends, after):
            self._take(tag[0], visible)
        else:
            self._header = tag[0] if begins else ""
            self._end_message()

    def _is_between_messages(self, ends: bool, after: str) -> bool:
        if not self._is_harmony:
            return not self._begun and not self._depth
        return self._word in ("", "harmony") and not self._is_text(ends, after)

    def _lengthen_header(self, text: str, visible: list[str]) -> None:
        self._header += text
        if header := _HARMONY_HEADER.fullmatch(self._header):
            self._header, self._is_harmony = "", True
            if (header["channel"] or "final").lower() != "final":
                self._depth, self._word = 1, "harmony"
        elif len(self._header) > _MAX_HARMONY_HEADER or text.lower() == "<|message|>":
            no_header, self._header = self._header, ""
            self._take(no_header, visible)

    def _end_message(self) -> None:
        self.parts.append("".join(self._thought))
        self._thought, self._depth, self._word = [], 0, ""
        self._begin_line()

    def _begin_line(self) -> None:
        self._line = _Line()
        self._unread.clear()

    def _open(self, tag: str, word: str) -> None:
        if self._depth == 0:
            self._doubtful = not self._line.is_blank
            self._word = word
        self._split_thought(tag)
        self._depth += 1

    def _close(self, tag: str, visible: list[str]) -> None:
        if self._depth == 0:
            self.parts += visible
            visible.clear()
            return
        self._depth -= 1
        self._word = self._word if self._depth else ""
        if self._depth == 0 and self._doubtful:
            self._thought[0] = ""  # the opening tag, which was kept in case no tag closes it
            self._doubtful = False
        self._split_thought(tag)

    def _split_thought(self, tag: str) -> None:
        """Begin another part of the thoughts; while they may still be text, keep the tag instead."""
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
        if quoted and after in _QUOTE_AFTER:
            return True
        if closing and self._depth:
            return False
        if closing and self._mentioned:
            self._mentioned = False
            return True
        in_sentence = (quoted or _IN_SENTENCE.fullmatch(line.end) is not None) and after in _SENTENCE_CONTINUES
        self._mentioned = self._mentioned or (in_sentence and not closing and self._depth == 0)
        return in_sentence


_QUOTE_BEFORE = "`'\"\u201c\u2018\u00ab(["
_QUOTE_AFTER = "`'\"\u201d\u2019\u00bb)]"
_IN_SENTENCE = re.compile(r"[^\s.!?:\u2026\u3002\uff01\uff1f][ \t]")
_SENTENCE_CONTINUES = f" \t,.;:!?\u2026{_QUOTE_AFTER}"


class _Line:
    """The current line up to a place in a text: its beginning, its end, and whether the place is in code."""

    def __init__(self) -> None:
        self.end = ""
        self._start = ""
        self._ticks = 0
        self._fenced = False

    def go_on(self, text: str) -> None:
        """Move the place to the end of `text`."""
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
    """Clean untrusted `text` and enclose it in markers. It cannot forge them: each `nonce` in it is broken up."""
    return f"<<{label} {nonce}>>\n{_without_code(text, nonce)}\n<<end of {label} {nonce}>>"


def tag(text: str, label: str, nonce: str) -> str:
    """As `fence`, but enclose `text` in tags such as `<response 1 0123456789abcdef>`."""
    return f"<{label} {nonce}>\n{_without_code(text, nonce)}\n</{label} {nonce}>"


def _without_code(text: str, nonce: str) -> str:
    inert = strip_invisible(text)
    if nonce.lower() in inert.lower():
        inert = re.sub(re.escape(nonce), f"{nonce[:4]}…", inert, flags=re.IGNORECASE)
    return inert


def one_line(text: str, limit: int = 200) -> str:
    """Fold `text` into one printable line of at most `limit` characters, for messages and logs."""
    line = " ".join(strip_invisible(fix_surrogates(text)).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
