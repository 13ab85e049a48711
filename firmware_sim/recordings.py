"""Recorded files as lines to send, each with the time at which it was recorded. Pure but for reading the file.

JSON lines are sent as they are; a CSV row becomes a JSON object of its columns; of a capture (`HH:MM:SS.ffffff` with or without
a date, a tab, the line) the line is sent; of a recording of `hearthgate record` what came from the device is sent, chunk by chunk, byte
for byte; anything else is sent line by line.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from firmware_sim.errors import SimulatorError, UsageError

FORMS = ("json", "csv", "capture", "recording", "lines")

_CAPTURED = re.compile(rb"((?:\d{4}-\d\d-\d\d[T ])?)(\d\d):(\d\d):(\d\d(?:\.\d+)?)\t([^\r\n]*)\r?\n?")
_RECORDING = b"# hearthgate recording "
_CHUNK = re.compile(rb"(\d+\.\d+)\t([<>])\t((?:[^\\\t\r\n]|\\[nrt\\]|\\x[0-9a-f]{2})*)\r?\n?")
_ESCAPE = re.compile(rb"\\(?:x(..)|(.))")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\"}
_JSON_TIME = re.compile(rb'"time"\s*:\s*(?:"([^"]*)"|(-?\d+(?:\.\d+)?))')
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_TIME_COLUMNS = {"date", "time", "datetime", "date_time", "date time", "timestamp"}
_NOTHING = {"", "na", "n/a", "nan", "null", "none", "?"}
_CLOCK_SLACK_S = 60.0
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Line:
    """Something to send.

    Attributes:
        at_s: when it was recorded, on a clock of the file's own; None when the file does not say.
    """

    data: bytes
    at_s: float | None = None


@dataclass
class Recording:
    """A file and how to read it. Iterating reads it from the start, a line at a time.

    Attributes:
        form: one of FORMS.
        columns: of a CSV file, which to send and under what names; empty for all but time and row number.
        line_end: replaces the file's own; a capture has none of its own and gets CR LF.
        skipped: rows that could not be used, in the last pass.
    """

    path: Path
    form: str
    columns: dict[str, str] = field(default_factory=dict)
    line_end: bytes | None = None
    skipped: int = 0

    def __iter__(self) -> Iterator[Line]:
        self.skipped = 0
        with self.path.open("rb") as file:
            if self.form == "recording":
                yield from self._chunks(file)
                return
            for line in self._lines(file):
                yield Line(_ended(line.data, self.line_end), line.at_s)

    def _lines(self, file: Iterable[bytes]) -> Iterator[Line]:
        if self.form == "csv":
            return self._rows(file)
        if self.form == "capture":
            return self._captured(file)
        if self.form == "json":
            return _json_lines(file)
        return (Line(text) for text in file)

    def _captured(self, file: Iterable[bytes]) -> Iterator[Line]:
        for text in file:
            if (match := _CAPTURED.fullmatch(text)) is None:
                self.skipped += 1
                continue
            date, hours, minutes, seconds, line = match.groups()
            day_s = _time_s(date.decode().rstrip("T ")) or 0.0
            at_s = day_s + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            yield Line(line + (self.line_end or b"\r\n"), at_s)

    def _chunks(self, file: Iterable[bytes]) -> Iterator[Line]:
        for text in file:
            if text.startswith(b"#") or not text.strip():
                continue
            if (match := _CHUNK.fullmatch(text)) is None:
                self.skipped += 1
            elif match[2] == b"<":
                yield Line(_ESCAPE.sub(_unescaped, match[3]), float(match[1]))

    def _rows(self, file: Iterable[bytes]) -> Iterator[Line]:
        texts = (text.decode("utf-8-sig", "replace") for text in file)
        first = next(texts, "")
        header = [name.strip() for name in _fields(first)]
        rows = self._parsed(csv.reader(texts, delimiter=_delimiter(first), skipinitialspace=True))
        first_row = next((row for row in rows if row), [])
        if len(first_row) == len(header) + 1:
            header.insert(0, "")  # a row number that the header does not name
        plan = _CsvPlan.of(header, self.columns, self.path)
        for row in chain([first_row] if first_row else [], rows):
            if len(row) == len(header):
                yield plan.line(row)
            elif row:
                self.skipped += 1

    def _parsed(self, rows: Iterator[list[str]]) -> Iterator[list[str]]:
        while True:
            try:
                yield next(rows)
            except csv.Error:
                self.skipped += 1
            except StopIteration:
                return


def open_recording(
    path: Path, *, form: str | None = None, columns: dict[str, str] | None = None, line_end: bytes | None = None
) -> Recording:
    """Find out what kind of file it is, unless told, and see that it can be read.

    Raises:
        SimulatorError: it cannot be read, or holds nothing.
        UsageError: columns of something that has none, or columns that it does not have.
    """
    try:
        with path.open("rb") as file:
            first = next((text for text in file if text.strip()), b"")
    except OSError as error:
        raise SimulatorError(f"{path}: cannot be read ({error.strerror})", "name a recorded file") from error
    if not first:
        raise SimulatorError(f"{path}: is empty", "name a recorded file")
    recording = Recording(path, form or _guess(first), columns or {}, line_end)
    if recording.columns and recording.form != "csv":
        raise UsageError(f"{path}: is no CSV file and has no columns for --map", "leave --map out")
    if recording.form == "recording" and line_end is not None:
        raise UsageError(f"{path}: holds bytes, which are sent as they are", "leave --line-end out")
    next(iter(recording), None)
    return recording


@dataclass(frozen=True)
class _CsvPlan:
    """Which places of a row are sent under which names, and which one is the time."""

    fields: Sequence[tuple[int, str]]
    time_place: int | None

    @staticmethod
    def of(header: Sequence[str], columns: dict[str, str], path: Path) -> _CsvPlan:
        time_place = next((place for place, name in enumerate(header) if name.lower() in _TIME_COLUMNS), None)
        unknown = [name for name in columns if name not in header]
        if unknown:
            known = ", ".join(filter(None, header))
            raise UsageError(f"{path}: has no column {', '.join(map(repr, unknown))}", f"its columns are {known}")
        if columns:
            fields = [(header.index(name), shown) for name, shown in columns.items()]
        else:
            fields = [(place, name) for place, name in enumerate(header) if name and place != time_place]
        return _CsvPlan(fields, time_place)

    def line(self, row: Sequence[str]) -> Line:
        values = {name: value for place, name in self.fields if (value := _value(row[place])) is not None}
        at_s = None if self.time_place is None else _time_s(row[self.time_place].strip())
        return Line(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n", at_s)


class Timeline:
    """Turns recorded times into seconds since the start, which never fall.

    A clock that steps back a little goes on from the latest time it had, so that a clock with a defect does not stretch the
    recording; one that steps back by most of a day has passed midnight; one that steps back otherwise starts anew.
    """

    def __init__(self) -> None:
        self._base_s: float | None = None
        self._reached_s = 0.0

    @property
    def has_times(self) -> bool:
        """Some line had one."""
        return self._base_s is not None

    def at(self, recorded_s: float | None) -> float:
        """
        Args:
            recorded_s: None for "with the line before".
        """
        if recorded_s is None:
            return self._reached_s
        if self._base_s is None:
            self._base_s = recorded_s
        at_s = recorded_s - self._base_s
        if at_s < self._reached_s - _DAY_S / 2 and recorded_s < _DAY_S:
            self._base_s -= _DAY_S
            at_s += _DAY_S
        if at_s < self._reached_s - _CLOCK_SLACK_S:
            self._base_s = recorded_s - self._reached_s
            at_s = self._reached_s
        self._reached_s = max(self._reached_s, at_s)
        return self._reached_s


def parse_map(text: str) -> dict[str, str]:
    """`COLUMN=name,…`; a column without a name keeps its own.

    Raises:
        UsageError: an empty column or name, or one name twice.
    """
    columns: dict[str, str] = {}
    for item in text.split(","):
        column, equals, name = (part.strip() for part in item.partition("="))
        if not column or (equals and not name) or column in columns or (name or column) in columns.values():
            raise UsageError(f"--map: {item!r} makes no sense", "write COLUMN=name,COLUMN=name with each but once")
        columns[column] = name or column
    return columns


def _json_lines(file: Iterable[bytes]) -> Iterator[Line]:
    for text in file:
        match = _JSON_TIME.search(text)
        yield Line(text, None if match is None else _time_s((match[1] or match[2]).decode("utf-8", "replace")))


def _ended(data: bytes, line_end: bytes | None) -> bytes:
    if line_end is not None:
        return data.rstrip(b"\r\n") + line_end
    return data if data.endswith(b"\n") else data + b"\n"


def _unescaped(match: re.Match[bytes]) -> bytes:
    return _ESCAPED[match[2]] if match[2] else bytes.fromhex(match[1].decode())


def _guess(first: bytes) -> str:
    if first.startswith(_RECORDING):
        return "recording"
    if first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return "json"
    if _CAPTURED.fullmatch(first):
        return "capture"
    text = first.decode("utf-8-sig", "replace")
    names = [name.strip() for name in _fields(text)]
    has_header = len(names) > 1 and all(name and not _NUMBER.fullmatch(name) for name in names)
    return "csv" if has_header and len(set(names)) == len(names) else "lines"


def _fields(header: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=_delimiter(header), skipinitialspace=True), [])
    except csv.Error:
        return []


def _delimiter(text: str) -> str:
    return max(",;\t", key=text.count)


def _value(text: str) -> int | float | str | None:
    """A field as JSON: integers stay so, other numbers take their shortest form, nothing is None."""
    text = text.strip()
    if text.lower() in _NOTHING:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if abs(number) != float("inf") else text
    return text


def _time_s(text: str) -> float | None:
    for parse in _TIME_FORMS:
        try:
            return parse(text)
        except ValueError:
            continue
    return None


def _iso_s(text: str) -> float:
    moment = datetime.fromisoformat(text)
    # A local time without a zone: only the distances matter.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_TIME_FORMS: Sequence[Callable[[str], float]] = (_iso_s, float)
