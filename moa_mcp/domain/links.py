"""Makes links in text from models inert, so that a client neither fetches nor opens a host outside the question.

A client fetches a picture without a click, so an address in a draft can leak what the model has read. Addresses on
hosts that the question names stay unchanged. All others become code, which no client follows, and a space breaks the
syntax of links and tags. No character is removed. Code stays unchanged where every Markdown reader treats it as code.
Pure functions on text, in one pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from moa_mcp.domain.text import strip_invisible

_HOST = re.compile(r"(?<![\w@.-])((?:[a-z0-9-]+\.)+[a-z0-9-]+|localhost)(?![\w@-])", re.IGNORECASE)
_MAIL = re.compile(r"(?:mailto:|xmpp:)?([\w.+-]{1,64}@((?:[\w-]{1,63}\.){1,9}[\w-]{1,63}))", re.IGNORECASE)

_FENCE = re.compile(r"(`{3,})[^`|]*|(~{3,})[^|]*", re.DOTALL)
_INDENT = re.compile(r"(?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t])*")
_NESTED_FENCE = re.compile(r"`{3,}(?:(?!//|\\\\|www)[^`|@<\]])*")
_BLANK = re.compile(r"(\n[ \t>]*\n)")
_CELL = re.compile(r"[\n|]")
_TICKS = re.compile(r"(\\*)(`+)")

# An address ends where code or a link ends; it may contain balanced parentheses.
_REST = r"[^\s<>`|\[\]()]*(?:\([^\s<>`|\[\]()]*\)[^\s<>`|\[\]()]*)*"
_LIVE = re.compile(
    # the middle of a link, or the end of the label of a link definition
    r"(?P<middle>\](?=[(:]))"
    # a tag, a comment or an address in angle brackets: it could fetch, hide text, or turn the next lines into HTML
    r"|<(?=[/!?]|(?:a|img|image|picture|i?frame|script|style|link|meta|object|embed|video|audio|source|svg|base|form)\b"
    r"|[a-z][a-z0-9-]*[\s/]|(?!mailto:|xmpp:)[a-z][a-z0-9+.-]{1,31}:(?![/\\]{2}))"
    r"|^[ \t>*+\-\d.)]{0,99}<(?=[a-z][a-z0-9-]*>)"
    rf"|(?P<address>(?:(?<![a-z])(?:[a-z][a-z0-9+.-]{{1,20}}:[/\\]{{2}}|mailto:|xmpp:)"
    rf"|(?<![a-z0-9])www\.|(?<![\w:/\\])[/\\]{{2}}(?=[\w-]+\.\w)){_REST})"
    rf"|(?P<mail>@[\w-]+\.[\w-]{_REST})|(?P<cut><(?=[^\s<>]*\Z))",
    re.IGNORECASE | re.MULTILINE,
)
_MARKS = re.compile(r"\]\(|\]:|<|@|[/\\]{2}|www\.|mailto:|xmpp:", re.IGNORECASE)
"""Text without any of these needs no change."""

_NAME = re.compile(r"[\w.+-]")
_TRAILING = ".,;:!?\"'*_~\\"
"""Characters that do not belong to an address when they end it."""

# Matches only if the host is certain: no user name and no backslash before the path.
_AT_HOST = re.compile(
    r"(?:https?://|(?=www\.))([a-z0-9.-]+)(?::\d{1,5})?(?:[/?#]|[.,;:!?)\]\"'*_~]{0,9}(?:[\s<>]|\Z))", re.IGNORECASE
)
_TARGET = re.compile(r"[(:][ \t\n>]*(?P<open><?)(?P<to>[^ \t\n<>()\[\]]{0,300})")
"""The target of a link, as far as needed to decide whether it leads to another host."""


def neutralize_links(text: str, question: str) -> str:
    """Clean `text`, and show each link, picture and address to a host that `question` does not name as code."""
    text = strip_invisible(text)
    if not _MARKS.search(text):
        return text
    known = _KnownAddresses(question, pictured="![" in text)
    return "".join(part if is_code else _neutralize_blocks(part, known) for part, is_code in _split_blocks(text))


class _KnownAddresses:
    """The hosts and mail addresses that a question names; links to them stay."""

    def __init__(self, question: str, *, pictured: bool) -> None:
        self._hosts: AbstractSet[str] = {host.lower() for host in _HOST.findall(question)}
        self._mails: AbstractSet[str] = {found[1].lower() for found in _MAIL.finditer(question)}
        self._pictured = pictured

    def has(self, text: str, start: int, end: int) -> bool:
        """Whether `text[start:end]` is a known address and no backtick follows it."""
        if text[end : end + 1] == "`":
            return False
        if at := _AT_HOST.match(text, start):
            return at[1].lower().rstrip(".") in self._hosts
        mail = _MAIL.fullmatch(text, start, end)
        return mail is not None and (mail[1].lower() in self._mails or mail[2].lower() in self._hosts)

    def allow(self, text: str, place: int, last_tick: int) -> bool:
        """Whether the link whose target begins at `place`, with a parenthesis or colon, may stay.

        A path on the reader's own host may stay, unless it could be a picture, which is fetched without a click.
        A link that may contain a backtick may not stay, because the backtick would then not open code.
        """
        link = _TARGET.match(text, place)
        if link is None:
            return False
        to = link["to"]
        if last_tick > place and ("`" in to or text[place] == ":" or text[link.end() : link.end() + 1] != ")"):
            return False
        if self.has(text, *link.span("to")):
            return True
        leads_away = link["open"] or len(to) >= 300 or to.startswith("//") or any(mark in to for mark in ":\\&")
        return not leads_away and (not self._pictured or to.startswith("#"))


def _split_blocks(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of `text`, each with True if it is a block of code.

    Only fences at the beginning of a line count, and no fence counts after one elsewhere in a line: whether that one
    opens or closes a block or is text depends on its nesting.
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


def _neutralize_blocks(text: str, known: _KnownAddresses) -> str:
    return "".join(_neutralize_paragraph(part, known) if _MARKS.search(part) else part for part in _BLANK.split(text))


def _neutralize_paragraph(text: str, known: _KnownAddresses) -> str:
    parts: list[str] = []
    start, last_tick = 0, text.rfind("`")
    for begin, end, is_code in _find_code(text):
        code = text[begin:end] if is_code else "\\`" * (end - begin)
        parts += (_neutralize_outside_code(text, start, begin, known, last_tick), code)
        start = end
    return "".join((*parts, _neutralize_outside_code(text, start, len(text), known, last_tick)))


def _find_code(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, True) for code spans, and (start, end, False) for runs of backticks that must be escaped.

    A span counts only if every Markdown reader sees it: within one line and one table cell. Other runs are escaped,
    because they could pair with each other. Nested fences stay unchanged; if there are any, a line with three
    backticks that is not a fence gets no spans.
    """
    start = 0
    lines = text.splitlines(keepends=True)
    fences = _find_fences(lines)
    fenced = any(fences)
    for line, is_fence in zip(lines, fences, strict=True):
        end = start + len(line)
        if "`" in line and not is_fence:
            doubtful = fenced and "```" in line
            for cut in (*(found.start() for found in _CELL.finditer(text, start, end)), end):
                yield from _pair_in_cell(
                    [_backtick_run(found) for found in _TICKS.finditer(text, start, cut)], doubtful=doubtful
                )
                start = cut
        start = end


def _find_fences(lines: list[str]) -> list[bool]:
    """Whether each line opens or closes a code block in a list or quotation. A line indented further is text."""
    fences: list[bool] = []
    furthest = None
    for line in lines:
        indent = _INDENT.match(line)
        begin = indent.end() if indent else 0
        width = len(line[:begin].expandtabs(4))
        is_fence = _NESTED_FENCE.fullmatch(line, begin) is not None
        fences.append(is_fence and (furthest is None or width < furthest))
        furthest = width + 4
    return fences


def _backtick_run(found: re.Match[str]) -> tuple[int, int, bool]:
    """Return the start and end of a run of backticks, and whether its first backtick is escaped."""
    return found.start(2), found.end(2), len(found[1]) % 2 == 1


def _pair_in_cell(runs: list[tuple[int, int, bool]], *, doubtful: bool) -> Iterator[tuple[int, int, bool]]:
    closing = [] if doubtful else _next_of_same_length(runs)
    place = 0
    while place < len(runs):
        begin, end, escaped = runs[place]
        if not doubtful and not escaped and (other := closing[place]):
            yield begin, runs[other][1], True
            place = other + 1
        else:
            yield begin + escaped, end, False
            place += 1


def _next_of_same_length(runs: list[tuple[int, int, bool]]) -> list[int | None]:
    """Return for each run the index of the next run of the same length, or None."""
    following: list[int | None] = []
    nearest: dict[int, int] = {}
    for place in range(len(runs) - 1, -1, -1):
        length = runs[place][1] - runs[place][0]
        following.append(nearest.get(length))
        nearest[length] = place
    return following[::-1]


def _neutralize_outside_code(text: str, start: int, end: int, known: _KnownAddresses, last_tick: int) -> str:
    """Return `text[start:end]`, which contains no code, with its links made inert."""
    done: list[str] = []
    for found in _LIVE.finditer(text, start, end):
        if found["address"] or found["mail"]:
            begin = _find_start(found, start)
            address_end = found.start() + len(found[0].rstrip(_TRAILING))
            done += (text[start:begin], _show_address(text, begin, address_end, known))
            start = address_end
        else:
            stays = found["cut"] and text[end : end + 1] != "`"
            if found["middle"]:
                stays = known.allow(text, found.end(), last_tick)
            done += (text[start : found.end()], "" if stays else " ")
            start = found.end()
    return "".join((*done, text[start:end]))


def _find_start(found: re.Match[str], least: int) -> int:
    """Return the start of an address; for a mail address, the start of the name before the @."""
    begin = found.start()
    while found["mail"] and begin > least and _NAME.match(found.string, begin - 1):
        begin -= 1
    return begin


def _show_address(text: str, begin: int, end: int, known: _KnownAddresses) -> str:
    """Return an address as code. A known address, or an @ without a name before it, stays unchanged."""
    address = text[begin:end]
    if address.startswith("@") or known.has(text, begin, end):
        return address
    before = " " if begin and text[begin - 1] in "`\\" else ""
    return f"{before}`{address}`{' ' if text[end : end + 1] == '`' else ''}"
