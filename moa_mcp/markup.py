"""Links in what models wrote, made inert: a reader's program must fetch or open nothing that was not asked about.

A picture is fetched without a click, so an address in a draft can carry away what the draft has read. Addresses
on hosts that the question itself names stay as they are; all others are shown as code, which nothing follows.
Code stays code, where it is beyond doubt that every reader takes it for code. Pure text in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

_HOST = re.compile(r"(?<![\w@.-])((?:[a-z0-9-]+\.)+[a-z0-9-]+|localhost)(?![\w@-])", re.IGNORECASE)
# Only what leaves no doubt which host is meant: neither a user name nor a backslash before the path.
_ADDRESS = re.compile(r"https?://([a-z0-9.-]+)(?::\d+)?(?:[/?#][^\s<>`]*)?", re.IGNORECASE)
_RELATIVE = re.compile(r"(?![/\\]{2})[#/.?\w][^\s:\\&`<>]*")

_FENCE = re.compile(r"(`{3,})[^`]*|(~{3,}).*", re.DOTALL)
_SPAN = re.compile(r"(?<![\\`])(?P<ticks>`{1,9})(?!`)[^\n|]{1,2000}?(?<!`)(?P=ticks)(?!`)")
_TEXT = r"(?P<text>(?:[^\[\]\\]|\\.){0,200})"
_TO = r"(?P<to><[^<>\n]*>|[^\s()<>]*(?:\([^\s()]*\)[^\s()]*){0,9})"
_TITLE = r"""(?:\s{1,9}(?:"[^"]{0,500}"|'[^']{0,500}'|\([^()]{0,500}\)))?"""
_LINK = re.compile(rf"(?P<picture>!?)\[{_TEXT}\]\(\s{{0,9}}{_TO}{_TITLE}\s{{0,9}}\)", re.DOTALL)
_LOOSE = re.compile(r"\]\((?P<gap>\s*<?)(?P<to>[^\s)>]*)")
_DEFINITION = re.compile(rf"^(?P<before>[ \t>]*)\[{_TEXT}\]:\s{{0,99}}{_TO}{_TITLE}[ \t]*$", re.MULTILINE)
# A tag at the beginning of a line could make the lines behind it raw HTML; some tags fetch wherever they stand.
_TAG = re.compile(
    r"<(?=/?(?:a|img|image|picture|i?frame|script|style|link|meta|object|embed|video|audio|source|svg|base|form)\b"
    r"|[a-z/!?][^>]{0,2000}\b(?:src|srcset|href|style|poster|data|action|background)\b)"
    r"|^(?P<indent>[ \t>]*)<(?=[/!?]|[a-z][a-z0-9-]*[\s/>])",
    re.IGNORECASE | re.MULTILINE,
)
_BARE = re.compile(r"<?\b(?P<to>[a-z][a-z0-9+.-]{1,20}:[/\\]{2}[^\s<>`]+)>?", re.IGNORECASE)

_DEEPEST = 4
"""How often links are looked for again, since a link may have a picture for its text."""

_LONGEST = 300
"""Characters of an address that are shown."""


def inert(text: str, question: str) -> str:
    """`text` with each link, picture and address that leads to a host not named in `question` shown as code."""
    if not any(mark in text for mark in ("://", "](", "]:", "<")):
        return text
    known = {host.lower() for host in _HOST.findall(question)}
    return "".join(part if is_code else _disarmed(part, known) for part, is_code in _blocks(text))


def _blocks(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of `text`, each with whether it is a block of code.

    Only fences at the beginning of a line count, and none behind a fence that stands elsewhere: whether that
    one opens, closes or is text depends on what it is nested in.
    """
    lines: list[str] = []
    fence = ""
    doubtful = False
    for line in text.splitlines(keepends=True):
        opening = _FENCE.fullmatch(line) if not fence and not doubtful else None
        if opening:
            yield "".join(lines), False
            lines = []
            fence = opening[1] or opening[2]
        lines.append(line)
        if fence and not opening and _closes(line, fence):
            yield "".join(lines), True
            lines, fence = [], ""
        doubtful = doubtful or (not fence and ("```" in line or "~~~" in line) and not _closes(line, "```"))
    yield "".join(lines), bool(fence)


def _closes(line: str, fence: str) -> bool:
    mark = line.strip()
    indent = len(line) - len(line.lstrip(" "))
    return indent <= 3 and len(mark) >= len(fence) and not mark.strip(fence[0])


def _disarmed(text: str, known: AbstractSet[str]) -> str:
    text = _outside_spans(text, lambda part: _without_links(part, known))
    return _outside_spans(text, lambda part: _BARE.sub(lambda found: _address(found, known), part))


def _outside_spans(text: str, change: Callable[[str], str]) -> str:
    done: list[str] = []
    start = 0
    for span in _SPAN.finditer(text):
        done += (change(text[start : span.start()]), span[0])
        start = span.end()
    return "".join((*done, change(text[start:])))


def _without_links(text: str, known: AbstractSet[str]) -> str:
    for _ in range(_DEEPEST):
        before, text = text, _LINK.sub(lambda link: _link(link, known), text)
        if text == before:
            break
    text = _LOOSE.sub(lambda end: _loose(end, known), text)
    text = _DEFINITION.sub(lambda line: _definition(line, known), text)
    return _TAG.sub(lambda tag: f"{tag['indent'] or ''}&lt;", text)


def _link(link: re.Match[str], known: AbstractSet[str]) -> str:
    to = link["to"].strip("<>")
    if _is_known(to, known) or (not link["picture"] and _RELATIVE.fullmatch(to)):
        return link[0]
    text = f"picture: {link['text']}" if link["picture"] else link["text"]
    return f"{text} ({_shown(to)})" if to else text


def _loose(end: re.Match[str], known: AbstractSet[str]) -> str:
    """The middle of what may still be a link, such as one with brackets in its text: a space parts it."""
    to = end["to"]
    return end[0] if not to or _is_known(to, known) or _RELATIVE.fullmatch(to) else f"] ({end['gap']}{to}"


def _definition(line: re.Match[str], known: AbstractSet[str]) -> str:
    to = line["to"].strip("<>")
    if _is_known(to, known) or _RELATIVE.fullmatch(to):
        return line[0]
    return f"{line['before']}{line['text']}: {_shown(to)}"


def _address(found: re.Match[str], known: AbstractSet[str]) -> str:
    return found[0] if _is_known(found["to"].rstrip(".,;:!?)"), known) else _shown(found["to"])


def _is_known(address: str, known: AbstractSet[str]) -> bool:
    whole = _ADDRESS.fullmatch(address)
    return whole is not None and whole[1].lower().rstrip(".") in known


def _shown(address: str) -> str:
    """An address as code; it is cut where it is longer than anybody reads."""
    plain = " ".join(address.replace("`", "%60").replace("|", "%7C").split())
    return f"`{plain if len(plain) <= _LONGEST else plain[:_LONGEST] + '…'}`"
