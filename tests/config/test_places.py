"""Where keys stand in a TOML file, however it is written."""

import tomllib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.places import Path, dotted, find_lines, line_of

WRITTEN = '''\
# a comment with [brackets] and key = 1
title = "x"

[links.usb0]
driver = "jsonlines"   # = [not.a.table]
text = """
[links.no]
driver = 'no' \\""" still text
"""
"quoted key".'and this' = 1

[[links.bus.units]]
id = 1
[links.bus.units.more]
x = { y = 1, "z w" = [1, 2], deep = { q = '}' } }
[[links.bus.units]]
id = 2
list = [
  1,
  # between
  [ "a]b" ],
  { k = 1 },
]
a.b.c = 2
a.b.d = 1979-05-27 07:32:00
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("links",), 4),
        (("links", "usb0"), 4),
        (("links", "usb0", "driver"), 5),
        (("links", "usb0", "text"), 6),
        (("links", "usb0", "quoted key", "and this"), 10),
        (("links", "bus", "units", 0, "id"), 13),
        (("links", "bus", "units", 0, "more", "x", "z w"), 15),
        (("links", "bus", "units", 0, "more", "x", "deep", "q"), 15),
        (("links", "bus", "units", 1), 16),
        (("links", "bus", "units", 1, "id"), 17),
        (("links", "bus", "units", 1, "list", 0), 19),
        (("links", "bus", "units", 1, "list", 1, 0), 21),
        (("links", "bus", "units", 1, "list", 2, "k"), 22),
        (("links", "bus", "units", 1, "a", "b"), 24),
        (("links", "bus", "units", 1, "a", "b", "d"), 25),
    ],
)
def test_lines_of_a_file_with_every_form(path: Path, line: int) -> None:
    assert find_lines(WRITTEN)[path] == line


def test_a_table_that_a_text_only_mentions_is_none() -> None:
    assert ("links", "no") not in find_lines(WRITTEN)


def test_what_is_missing_is_placed_at_the_table_around_it() -> None:
    lines = find_lines(WRITTEN)
    assert line_of(lines, ("links", "bus", "units", 0, "profile")) == 12
    assert line_of(lines, ("http", "listen")) is None


def test_keys_are_shown_as_people_write_them() -> None:
    assert dotted(("webhooks", "subscriptions", 0, "url")) == "webhooks.subscriptions[0].url"
    assert dotted(("things", "hall*", "room")) == 'things."hall*".room'
    assert dotted(()) == ""


def test_arrays_nested_beyond_reason_end_quietly() -> None:
    assert find_lines("a = 1\nb = " + "[" * 5000)[("a",)] == 1


class Writer:
    """Writes TOML at random, and notes where it has put each key."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.expected: dict[Path, int] = {}
        self.count = 0

    def note(self, path: Path) -> None:
        for size in range(1, len(path) + 1):
            self.expected.setdefault(path[:size], self.text.count("\n") + 1)

    def key(self) -> tuple[str, str]:
        """A new key, and how it is spelled here."""
        self.count += 1
        odd = self.draw(st.text(".# =\"[]{}'\\,é", max_size=3))
        form = self.draw(st.sampled_from(["bare", "basic", "literal"]))
        if form == "bare":
            return (name := f"k{self.count}"), name
        if form == "literal":
            name = f"k{self.count}" + odd.replace("'", "")
            return name, f"'{name}'"
        name = f"k{self.count}{odd}"
        return name, '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("é", "\\u00e9") + '"'

    def path(self) -> tuple[Path, str]:
        keys = [self.key() for _ in range(self.draw(st.integers(1, 3)))]
        return tuple(name for name, _ in keys), self.draw(st.sampled_from([".", " . ", "\t."])).join(
            spelled for _, spelled in keys
        )

    def value(self, path: Path, depth: int, *, may_break: bool) -> None:
        forms = ["plain", "text"] + (["long"] if may_break else []) + (["list", "table"] if depth else [])
        form = self.draw(st.sampled_from(forms))
        if form == "plain":
            self.text += self.draw(
                st.sampled_from(["1", "-0.5e3", "true", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00"])
            )
        elif form == "text":
            content = self.draw(st.text("#=[]{},. k1", max_size=6))
            self.text += self.draw(
                st.sampled_from([f'"{content}"', f"'{content}'", f'"{content}\\""', f'"{content}\\\\"'])
            )
        elif form == "long":
            content = self.draw(st.text("#=[]{},.\n k1", max_size=8))
            quotes = self.draw(st.sampled_from(["'''", '"""']))
            inner = self.draw(st.sampled_from(["", quotes[:1] + "x", quotes[:2] + "x"]))
            end = self.draw(st.sampled_from(["", quotes[:1], quotes[:2]]))
            self.text += quotes + content + inner + content + end + quotes
        elif form == "list":
            self.list(path, depth, may_break=may_break)
        else:
            self.inline_table(path, depth)

    def list(self, path: Path, depth: int, *, may_break: bool) -> None:
        self.text += "["
        for at in range(self.draw(st.integers(0, 3))):
            if may_break:
                self.text += self.draw(st.sampled_from(["", "\n", " # ] ,\n  "]))
            self.note((*path, at))
            self.value((*path, at), depth - 1, may_break=may_break)
            self.text += ","
        self.text += "]"

    def inline_table(self, path: Path, depth: int) -> None:
        self.text += "{"
        for at in range(self.draw(st.integers(0, 3))):
            self.text += ", " if at else " "
            self.key_value(path, depth - 1, may_break=self.draw(st.booleans()))
        self.text += "}"

    def key_value(self, table: Path, depth: int, *, may_break: bool = True) -> None:
        path, spelled = self.path()
        self.note(table + path)
        self.text += spelled + self.draw(st.sampled_from(["=", " = "]))
        self.value(table + path, depth, may_break=may_break)

    def document(self) -> None:
        table: Path = ()
        arrays: dict[Path, tuple[str, int]] = {}
        for _ in range(self.draw(st.integers(0, 8))):
            what = self.draw(st.sampled_from(["key", "key", "key", "table", "array", "again", "below", "comment"]))
            if what == "key":
                self.key_value(table, 2)
            elif what == "table":
                table, spelled = self.path()
                self.note(table)
                self.text += f"[ {spelled} ]"
            elif what == "array":
                path, spelled = self.path()
                arrays[path] = spelled, 1
                table = (*path, 0)
                self.note(table)
                self.text += f"[[{spelled}]]"
            elif arrays and what in ("again", "below"):
                path = self.draw(st.sampled_from(sorted(arrays)))
                spelled, count = arrays[path]
                if what == "again":
                    arrays[path] = spelled, count + 1
                    table = (*path, count)
                    self.text += f"[[{spelled}]]"
                else:
                    name, name_spelled = self.key()
                    table = (*path, count - 1, name)
                    self.text += f"[{spelled}.{name_spelled}]"
                self.note(table)
            self.text += self.draw(st.sampled_from(["\n", " # [x] = 'y\n", "\n\n", "\n  "]))


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[Path, int]]:
    writer = Writer(draw)
    writer.document()
    return writer.text, writer.expected


@given(documents())
def test_lines_of_files_written_at_random(document: tuple[str, dict[Path, int]]) -> None:
    """Every key, table and element is found, on its line, and nothing else."""
    text, expected = document
    tomllib.loads(text)
    assert find_lines(text) == expected


@given(st.text(st.sampled_from("ab.=[]{}\"'\\#\n, 1"), max_size=60))
def test_text_that_is_no_toml_ends_too(text: str) -> None:
    """It is not asked for such text; going round in circles would be a bad answer all the same."""
    with suppress(tomllib.TOMLDecodeError):
        find_lines(text)
