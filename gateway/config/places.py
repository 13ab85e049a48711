"""On which line of a TOML file each key stands. `tomllib` tells lines of syntax errors only.

A scan of its own: it follows tables, arrays of tables, dotted and quoted keys, inline tables and multi-line strings, and skips values
without reading them. It is made for text that `tomllib` has taken, and is only run when there is a fault to be placed.
"""

import re
import tomllib
from contextlib import suppress

Path = tuple[str | int, ...]
"""A key as its parts; a number is the place in an array: `("webhooks", "subscriptions", 0, "url")`."""


def find_lines(text: str) -> dict[Path, int]:
    """The line, counted from 1, on which each key, table and element of an array begins."""
    scan = _Scan(text)
    with suppress(RecursionError):  # arrays in arrays in arrays: the lines before them will do
        scan.run()
    return scan.lines


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """The line of a key, or of the innermost table around it that stands in the file."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def dotted(path: Path) -> str:
    """A key as people write it: `webhooks.subscriptions[0].url`, `things."hall*".room`."""
    parts: list[str] = []
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        else:
            word = part if _BARE.fullmatch(part) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
            parts.append(f".{word}" if parts else word)
    return "".join(parts)


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r'[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
# Two quotes at the end of a multi-line string may belong to it: five in a row close it.
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")' r"|'''.*?'{3,5}(?!')" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'", re.DOTALL
)
_PLAIN = re.compile(r"[^,\]}#\r\n]+")


class _Scan:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._counted_to = 0
        self._tables: dict[Path, int] = {}
        """arrays of tables: how many elements each has by now"""

    def run(self) -> None:
        table: Path = ()
        while self._peek_past_blanks():
            if self._take("[["):
                table = self._array_of_tables()
            elif self._take("["):
                table = self._resolve(self._key())
                self._note_all(table)
                self._skip_to("]")
            else:
                self._key_value(table)

    def _array_of_tables(self) -> Path:
        path = self._resolve(self._key(), last_too=False)
        count = self._tables.get(path, 0)
        self._tables[path] = count + 1
        self._note_all((*path, count))
        self._skip_to("]]")
        return (*path, count)

    def _key_value(self, table: Path) -> None:
        key = self._key()
        self._note_all(table + key)
        self._skip_to("=")
        self._value(table + key)

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._match(_SPACE)
            word = self._match(_KEY)
            parts.append(tomllib.loads(f"k={word}")["k"] if word[:1] in ('"', "'") else word)
            self._match(_SPACE)
            if not self._take("."):
                return tuple(parts)

    def _value(self, path: Path) -> None:
        self._match(_SPACE)
        if self._take("{"):
            self._inline_table(path)
        elif self._take("["):
            self._array(path)
        elif self._text[self._at : self._at + 1] in ('"', "'"):
            self._match(_STRING)
        else:
            self._match(_PLAIN)

    def _inline_table(self, path: Path) -> None:
        while self._peek_past_blanks() and not self._take("}"):
            if not self._take(","):
                self._key_value(path)

    def _array(self, path: Path) -> None:
        count = 0
        while self._peek_past_blanks() and not self._take("]"):
            if not self._take(","):
                self._note((*path, count))
                self._value((*path, count))
                count += 1

    def _resolve(self, key: tuple[str, ...], *, last_too: bool = True) -> Path:
        """A header's key means the newest element of each array of tables on its way."""
        path: Path = ()
        for at, part in enumerate(key, 1):
            path = (*path, part)
            if path in self._tables and (last_too or at < len(key)):
                path = (*path, self._tables[path] - 1)
        return path

    def _note_all(self, path: Path) -> None:
        """A key begins the tables on its way, where nothing before it has."""
        for size in range(1, len(path) + 1):
            self._note(path[:size])

    def _note(self, path: Path) -> None:
        if path not in self.lines:
            self._line += self._text.count("\n", self._counted_to, self._at)
            self._counted_to = self._at
            self.lines[path] = self._line

    def _peek_past_blanks(self) -> bool:
        self._match(_BLANK)
        return self._at < len(self._text)

    def _skip_to(self, mark: str) -> None:
        found = self._text.find(mark, self._at)
        self._at = len(self._text) if found < 0 else found + len(mark)

    def _take(self, mark: str) -> bool:
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            self._at = len(self._text)  # not TOML: end here rather than go round in circles
            return ""
        self._at = found.end()
        return found[0]
