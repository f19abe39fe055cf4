"""Links in what models wrote, made inert: a reader's program must fetch or open nothing that was not asked about.

A picture is fetched without a click, so an address in a draft can carry away what the draft has read. Addresses
on hosts that the question itself names stay as they are; all others are shown as code, which nothing follows, and
what would make a link or a tag is parted by a space. Nothing is taken away: readers see every character.
Code stays code, where it is beyond doubt that every reader takes it for code. Pure text in, text out, in one pass.
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

# An address ends where code or a link would; parentheses are a part of it in pairs.
_REST = r"[^\s<>`|\[\]()]*(?:\([^\s<>`|\[\]()]*\)[^\s<>`|\[\]()]*)*"
_LIVE = re.compile(
    # the middle of a link, or the end of the label of a definition
    r"(?P<middle>\](?=[(:]))"
    # a tag, a comment or an address in angle brackets: it could fetch, hide text, or make HTML of the lines behind it
    r"|<(?=[/!?]|(?:a|img|image|picture|i?frame|script|style|link|meta|object|embed|video|audio|source|svg|base|form)\b"
    r"|[a-z][a-z0-9-]*[\s/]|(?!mailto:|xmpp:)[a-z][a-z0-9+.-]{1,31}:(?![/\\]{2}))"
    r"|^[ \t>*+\-\d.)]{0,99}<(?=[a-z][a-z0-9-]*>)"
    rf"|(?P<address>(?:(?<![a-z])(?:[a-z][a-z0-9+.-]{{1,20}}:[/\\]{{2}}|mailto:|xmpp:)"
    rf"|(?<![a-z0-9])www\.|(?<![\w:/\\])[/\\]{{2}}(?=[\w-]+\.\w)){_REST})"
    rf"|(?P<mail>@[\w-]+\.[\w-]{_REST})|(?P<cut><(?=[^\s<>]*\Z))",
    re.IGNORECASE | re.MULTILINE,
)
_MARKS = re.compile(r"\]\(|\]:|<|@|[/\\]{2}|www\.|mailto:|xmpp:", re.IGNORECASE)
"""One of these stands wherever something has to be done."""

_NAME = re.compile(r"[\w.+-]")
_ENDS = ".,;:!?\"'*_~\\"
"""What at the end of an address is no part of it."""

# Only what leaves no doubt which host is meant: neither a user name nor a backslash before the path.
_AT_HOST = re.compile(
    r"(?:https?://|(?=www\.))([a-z0-9.-]+)(?::\d{1,5})?(?:[/?#]|[.,;:!?)\]\"'*_~]{0,9}(?:[\s<>]|\Z))", re.IGNORECASE
)
_TO = re.compile(r"[(:][ \t\n>]*(?P<open><?)(?P<to>[^ \t\n<>()\[\]]{0,300})")
"""Where a link leads, as far as it takes to know whether it leads away."""


def neutralize_links(text: str, question: str) -> str:
    """`text`, cleaned, with every link, picture and address to a host that `question` does not name shown as code."""
    text = strip_invisible(text)
    if not _MARKS.search(text):
        return text
    known = _Known(question, pictured="![" in text)
    return "".join(part if is_code else _neutralize(part, known) for part, is_code in _blocks(text))


class _Known:
    """What may be led to: the hosts and addresses that a question names."""

    def __init__(self, question: str, *, pictured: bool) -> None:
        self._hosts: AbstractSet[str] = {host.lower() for host in _HOST.findall(question)}
        self._mails: AbstractSet[str] = {found[1].lower() for found in _MAIL.finditer(question)}
        self._pictured = pictured

    def has(self, text: str, start: int, end: int) -> bool:
        """Whether what stands between two places is an address of these, and nothing doubtful follows it."""
        if text[end : end + 1] == "`":
            return False
        if at := _AT_HOST.match(text, start):
            return at[1].lower().rstrip(".") in self._hosts
        mail = _MAIL.fullmatch(text, start, end)
        return mail is not None and (mail[1].lower() in self._mails or mail[2].lower() in self._hosts)

    def allow(self, text: str, place: int, last_tick: int) -> bool:
        """Whether a link to what begins at `place`, with a parenthesis or colon, may stay one.

        A path on the reader's own host may, but not where it could be a picture, which is fetched unasked. No link
        may that a backtick could be a part of, for it would open no code then.
        """
        link = _TO.match(text, place)
        if link is None:
            return False
        to = link["to"]
        if last_tick > place and ("`" in to or text[place] == ":" or text[link.end() : link.end() + 1] != ")"):
            return False
        if self.has(text, *link.span("to")):
            return True
        leads_away = link["open"] or len(to) >= 300 or to.startswith("//") or any(mark in to for mark in ":\\&")
        return not leads_away and (not self._pictured or to.startswith("#"))


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


def _neutralize(text: str, known: _Known) -> str:
    return "".join(_paragraph(part, known) if _MARKS.search(part) else part for part in _BLANK.split(text))


def _paragraph(text: str, known: _Known) -> str:
    parts: list[str] = []
    start, last_tick = 0, text.rfind("`")
    for begin, end, is_code in _ticks(text):
        code = text[begin:end] if is_code else "\\`" * (end - begin)
        parts += (_outside_code(text, start, begin, known, last_tick), code)
        start = end
    return "".join((*parts, _outside_code(text, start, len(text), known, last_tick)))


def _ticks(text: str) -> Iterator[tuple[int, int, bool]]:
    """Where spans of code are, and (False) runs of backticks that have to be escaped, as they could pair with others.

    Of spans only those count that every reader sees: within a line, and within a cell of a table. A fence that is
    nested in something stays; where it could be none, no run of as many backticks counts.
    """
    start = 0
    lines = text.splitlines(keepends=True)
    fences = _fences(lines)
    fenced = any(fences)
    for line, is_fence in zip(lines, fences, strict=True):
        end = start + len(line)
        if "`" in line and not is_fence:
            doubtful = fenced and "```" in line
            for cut in (*(found.start() for found in _CELL.finditer(text, start, end)), end):
                yield from _in_cell([_run(found) for found in _TICKS.finditer(text, start, cut)], doubtful=doubtful)
                start = cut
        start = end


def _fences(lines: list[str]) -> list[bool]:
    """Which lines open or close a block of code within a list or quotation; one that is set in further is text."""
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


def _run(found: re.Match[str]) -> tuple[int, int, bool]:
    """From where to where a run of backticks is, and whether its first is escaped."""
    return found.start(2), found.end(2), len(found[1]) % 2 == 1


def _in_cell(runs: list[tuple[int, int, bool]], *, doubtful: bool) -> Iterator[tuple[int, int, bool]]:
    closing = [] if doubtful else _same_behind(runs)
    place = 0
    while place < len(runs):
        begin, end, escaped = runs[place]
        if not doubtful and not escaped and (other := closing[place]):
            yield begin, runs[other][1], True
            place = other + 1
        else:
            yield begin + escaped, end, False
            place += 1


def _same_behind(runs: list[tuple[int, int, bool]]) -> list[int | None]:
    """For each run the place of the next one of the same length."""
    behind: list[int | None] = []
    nearest: dict[int, int] = {}
    for place in range(len(runs) - 1, -1, -1):
        length = runs[place][1] - runs[place][0]
        behind.append(nearest.get(length))
        nearest[length] = place
    return behind[::-1]


def _outside_code(text: str, start: int, end: int, known: _Known, last_tick: int) -> str:
    """What of `text` lies between two places, made inert."""
    done: list[str] = []
    for found in _LIVE.finditer(text, start, end):
        if found["address"] or found["mail"]:
            begin = _begin(found, start)
            behind = found.start() + len(found[0].rstrip(_ENDS))
            done += (text[start:begin], _address(text, begin, behind, known))
            start = behind
        else:
            stays = found["cut"] and text[end : end + 1] != "`"
            if found["middle"]:
                stays = known.allow(text, found.end(), last_tick)
            done += (text[start : found.end()], "" if stays else " ")
            start = found.end()
    return "".join((*done, text[start:end]))


def _begin(found: re.Match[str], least: int) -> int:
    """Where an address begins, of a mail address the name before the sign."""
    begin = found.start()
    while found["mail"] and begin > least and _NAME.match(found.string, begin - 1):
        begin -= 1
    return begin


def _address(text: str, begin: int, end: int, known: _Known) -> str:
    """An address as code, but for one that is known, and for a sign without a name before it."""
    address = text[begin:end]
    if address.startswith("@") or known.has(text, begin, end):
        return address
    before = " " if begin and text[begin - 1] in "`\\" else ""
    return f"{before}`{address}`{' ' if text[end : end + 1] == '`' else ''}"
