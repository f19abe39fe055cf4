"""Text hygiene: what every text passes on its way in from a model and on its way into a prompt.

Pure functions over strings. What the words of a prompt are is not decided here (see prompts.py).
"""

from __future__ import annotations

import re

_THINK_TAG = re.compile(r"(</?think(?:ing)?>)", re.IGNORECASE)
# ECMA-48: a control sequence, an operating-system command up to its end, any other two-character escape.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
# Control characters but tab and newline, and the marks that turn the direction of writing.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

# What a reader does not see and a model or a terminal obeys: control characters, the marks that turn the
# direction of writing, characters without width, the tags and variation selectors that can spell hidden words.
# Joiners stay where they join: between parts of an emoji, and in scripts that are written with them.
_JOINED = (
    "\u0600-\u08ff\u0900-\u0dff\u0e00-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc"
    "\ufe0f\u2190-\u2bff\U0001f000-\U0001faff"
)
_JOINS = re.compile(f"[{_JOINED}]")
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
    f"|(?<![{_JOINED}])[\u200c\u200d]"
)


def repair(text: str) -> str:
    """Join surrogate halves that a provider split over two pieces, and replace lone ones by U+FFFD.

    A lone surrogate cannot be encoded as UTF-8, so one of them would end a stdio server, an HTTP request
    or a database write far from where it came in.
    """
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean(text: str, before: str = "") -> str:
    """`text` without what cannot be seen in it, newlines and tabs kept; `\\r\\n` is one newline.

    Emoji that are joined from several, and scripts that are written with joiners, stay whole. `before` is the
    character that came before `text`, where this is a piece of something longer.
    """
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    joined = before if _JOINS.fullmatch(before) else ""
    return _UNSEEN.sub("", joined + _ESCAPE.sub("", text))[len(joined) :]


def part_thinking(text: str) -> tuple[str, str]:
    """Part a reply into (what it says, what it thought), both stripped.

    What stands between `<think>` tags, nested ones too, is thought. An opening tag that is never closed takes
    all that follows (the thought was cut off); a closing tag that was never opened takes all before it (the
    chat template ate the opening one). One pass, for a model may write as many tags as it likes.
    """
    said: list[str] = []
    thought: list[str] = []
    depth = 0
    for number, part in enumerate(_THINK_TAG.split(text)):
        if number % 2 == 0:
            (thought if depth else said).append(part)
        elif part.startswith("</"):
            if depth == 0:
                thought += said
                said = []
            depth = max(0, depth - 1)
        else:
            depth += 1
    return "".join(said).strip(), "\n\n".join(part for piece in thought if (part := piece.strip()))


def fence(text: str, label: str, nonce: str) -> str:
    """Enclose untrusted `text` in markers that it cannot forge: any copy of `nonce` inside it is broken up."""
    inert = text.replace(nonce, f"{nonce[:4]}…")
    return f"<<{label} {nonce}>>\n{inert}\n<<end of {label} {nonce}>>"


_FENCED = re.compile(
    r"(<<(?P<label>[^<>\n]+) (?P<nonce>[0-9a-f]{16})>>\n)(?P<body>.*?)(\n<<end of (?P=label) (?P=nonce)>>)",
    re.DOTALL,
)

SHORTENED = "\n[… the middle of this text is left out …]\n"


def with_shorter_fences(text: str) -> str:
    """`text` with all that stands in fences cut to its first 35 and last 15 hundredths; the rest as it is."""

    def shorter(fenced: re.Match[str]) -> str:
        body = fenced["body"]
        if len(body) < 10 * len(SHORTENED):
            return fenced[0]
        head, tail = len(body) * 35 // 100, len(body) * 15 // 100
        return f"{fenced[1]}{body[:head]}{SHORTENED}{body[-tail:]}{fenced[5]}"

    return _FENCED.sub(shorter, text)


def one_line(text: str, limit: int = 200) -> str:
    """Fold `text` into one printable line of at most `limit` characters, for messages and logs."""
    folded = " ".join(repair(text).split())
    printable = "".join(ch for ch in folded if ch.isprintable())
    return printable if len(printable) <= limit else f"{printable[: limit - 1]}…"


def printable(text: str) -> str:
    """`text` without all that a terminal would obey instead of show."""
    return _UNPRINTABLE.sub("", _ESCAPE.sub("", text))
