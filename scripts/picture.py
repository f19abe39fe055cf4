"""Draw docs/images/run.svg: the terminal output of `moa-mcp ask`, from a new run.

    python -m scripts.picture [--check]

The run asks the demo panel, in a new pseudo-terminal and with a new home. With `--check` it writes nothing, and exits
with 1 if the words in the picture differ (numbers may differ).
"""

from __future__ import annotations

import fcntl
import html
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "run.svg"

QUESTION = "Why is the sky blue at noon and red at dusk?"
COLUMNS, LINES = 84, 30

_ERASED = re.compile(r"^.*\x1b\[1A\x1b\[2K", re.DOTALL)
_CURSOR = re.compile(r"\x1b\[\?25[lh]|\x1b\[2K")
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def screen() -> str:
    """The text on the terminal after a run, with colours: the output after the last erased line."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    with TemporaryDirectory() as home:
        environ = {"PATH": os.environ["PATH"], "MOA_MCP_HOME": home, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        environ["PYTHONPATH"] = str(PICTURE.parents[2])
        command = [sys.executable, "-m", "moa_mcp", "ask", "--preset", "demo", QUESTION]
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ):
            os.close(theirs)
            shown = _read_all(ours)
    os.close(ours)
    return _CURSOR.sub("", _ERASED.sub("", shown)).replace("\r\n", "\n").replace("\r", "")


def _read_all(terminal: int) -> str:
    chunks: list[bytes] = []
    try:
        while chunk := os.read(terminal, 65536):
            chunks.append(chunk)
    except OSError:
        pass  # Linux raises this when the other side of the terminal is closed
    return b"".join(chunks).decode()


def svg(shown: str) -> str:
    """A picture of a terminal, in a font of the reader's system: rich's default loads a font from the network."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "dim"), (f'moa-mcp ask --preset demo "{QUESTION}"', "bold")))
    console.print(Text.from_ansi(shown.strip("\n")))
    picture = console.export_svg(title="moa-mcp", theme=MONOKAI, unique_id="run")
    return _FONT_FACE.sub("", picture).replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")


def words(picture: str) -> str:
    """The words of a picture. Each number becomes 0, and markup and spacing are removed."""
    texts = [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)]
    return " ".join(re.sub(r"\d[\d.,]*", "0", " ".join(texts)).replace("\xa0", " ").split())


def main() -> None:
    """Draw the picture, or check it."""
    picture = svg(screen())
    if "--check" not in sys.argv[1:]:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(picture, encoding="utf-8")
    elif not PICTURE.exists() or words(PICTURE.read_text(encoding="utf-8")) != words(picture):
        sys.exit(f"{PICTURE.name} is not what a run shows. Draw it anew: python -m scripts.picture")


if __name__ == "__main__":
    main()
