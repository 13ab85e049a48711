"""Recorded files as lines with times."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.errors import SimulatorError, UsageError
from firmware_sim.recordings import Line, Timeline, open_recording, parse_map

Recorded = Callable[[str], Path]


def written(directory: Path, text: str | bytes, name: str = "file") -> Path:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_json_lines_are_sent_as_they_are(tmp_path: Path) -> None:
    text = b'{"time" : "2024-06-05 03:31:57", "x" : 1.000}\n{broken\r\n\n{"time":1717558320.5}'
    recording = open_recording(written(tmp_path, text))
    assert recording.form == "json"
    lines = list(recording)
    assert b"".join(line.data for line in lines) == text + b"\n"
    assert [line.at_s for line in lines[1:]] == [None, None, 1717558320.5]


def test_csv_rows_become_objects_of_numbers_in_their_shortest_form(tmp_path: Path) -> None:
    text = '"date","T1", "RH_1",n,note\n"2016-01-11 17:30:00","  50","46.066666666666698","6.2500000000000000e+00",ok\n'
    recording = open_recording(written(tmp_path, text))
    assert recording.form == "csv"
    (line,) = recording
    assert line.data == b'{"T1":50,"RH_1":46.0666666666667,"n":6.25,"note":"ok"}\n'
    assert line.at_s is not None


def test_a_row_number_that_the_header_does_not_name_is_left_out(tmp_path: Path) -> None:
    recording = open_recording(written(tmp_path, '"date","a","b"\n"1","2015-02-04 17:51:00",23.18,426\n'))
    assert [line.data for line in recording] == [b'{"a":23.18,"b":426}\n']


def test_a_map_selects_and_renames_in_its_own_order(tmp_path: Path) -> None:
    path = written(tmp_path, "date,T1,T2\n2016-01-11 17:30:00,1,2\n")
    (line,) = open_recording(path, columns=parse_map("T2=attic.temperature, T1"))
    assert line.data == b'{"attic.temperature":2,"T1":1}\n'


def test_gaps_are_left_out_and_odd_rows_are_counted(tmp_path: Path) -> None:
    recording = open_recording(written(tmp_path, "time;a;b\n\n1;2,5;\n2;x\n3;4;nan\n"))
    assert [json.loads(line.data) for line in recording] == [{"a": "2,5"}, {"a": 4}]
    assert recording.skipped == 1


def test_a_capture_loses_its_times_and_gets_line_ends(tmp_path: Path) -> None:
    path = written(tmp_path, "10:54:00.287181\tT801B7FFF\r\nnoise\n10:54:01\tPR: S=16.00\n")
    recording = open_recording(path)
    assert recording.form == "capture"
    assert list(recording) == [Line(b"T801B7FFF\r\n", 39240.287181), Line(b"PR: S=16.00\r\n", 39241.0)]
    assert recording.skipped == 1
    assert [line.data for line in open_recording(path, line_end=b"\n")] == [b"T801B7FFF\n", b"PR: S=16.00\n"]


def test_a_capture_may_carry_dates(tmp_path: Path) -> None:
    first, second = open_recording(written(tmp_path, "2021-03-20 23:59:59\ta\n2021-03-21 00:00:01\tb\n"))
    assert (first.data, second.data) == (b"a\r\n", b"b\r\n")
    assert second.at_s == pytest.approx((first.at_s or 0) + 2)


def test_anything_else_is_sent_line_by_line(tmp_path: Path) -> None:
    text = b"0;255;3;0;9;init, a,b\n\xff\xfe\n20;02;NewKaku;ID=1;\r\n"
    recording = open_recording(written(tmp_path, text))
    assert (recording.form, b"".join(line.data for line in recording)) == ("lines", text)


def test_every_line_end_can_be_chosen(tmp_path: Path) -> None:
    recording = open_recording(written(tmp_path, b'{"a":1}\n{"a":2}\r\n'), line_end=b"\r\n")
    assert [line.data for line in recording] == [b'{"a":1}\r\n', b'{"a":2}\r\n']


def test_what_cannot_be_played_is_said_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="name a recorded file"):
        open_recording(tmp_path / "missing")
    with pytest.raises(SimulatorError, match="is empty"):
        open_recording(written(tmp_path, b"\n\n"))
    with pytest.raises(SimulatorError, match="cannot be read"):
        open_recording(tmp_path)
    with pytest.raises(UsageError, match="no column 'c'; its columns are a, b"):
        open_recording(written(tmp_path, "a,b\n1,2\n"), columns={"c": "d"})
    with pytest.raises(UsageError, match="no CSV file"):
        open_recording(written(tmp_path, '{"a":1}\n'), columns={"a": "b"})


@pytest.mark.parametrize("text", ["", "=a", "a=", "a=b,a=c", "a=b,b", "a,,b"])
def test_a_map_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--map"):
        parse_map(text)


@given(st.binary(max_size=400), st.sampled_from([None, "json", "csv", "capture", "lines"]))
def test_no_file_breaks_the_reading(tmp_path_factory: pytest.TempPathFactory, data: bytes, form: str | None) -> None:
    path = written(tmp_path_factory.mktemp("noise"), data)
    try:
        recording = open_recording(path, form=form)
    except SimulatorError:
        return
    assert all(line.data.endswith(b"\n") for line in recording)


def test_a_clock_that_steps_back_a_little_holds_nothing_up_and_stretches_nothing() -> None:
    """The OpenTherm captures: the fraction of a second wraps before the second does."""
    timeline = Timeline()
    times = [timeline.at(at) for at in (30.93, 30.21, 30.42, 31.93, 31.21)]
    assert times == pytest.approx([0, 0, 0, 1, 1])


def test_midnight_passes_and_a_new_piece_begins_anew() -> None:
    timeline = Timeline()
    assert [timeline.at(at) for at in (86_398.0, 86_399.0, 1.0, 2.0)] == [0, 1, 3, 4]
    dated = Timeline()
    assert [dated.at(at) for at in (1e9, 1e9 + 10, 9e8, 9e8 + 5, None)] == [0, 10, 10, 15, 15]


@given(st.lists(st.none() | st.floats(0, 2e9)))
def test_time_never_falls(times: list[float | None]) -> None:
    timeline = Timeline()
    reached = [timeline.at(at) for at in times]
    assert all(one <= other for one, other in pairwise(reached))


@pytest.mark.parametrize(
    ("name", "form", "lines", "skipped"),
    [
        ("rtl433-json/433mhz-2023-01-07.jsonl", "json", 620, 0),
        ("rtl433-json/915mhz-2024-06-05-to-10.jsonl", "json", 3124, 0),
        ("office-occupancy/datatraining.txt", "csv", 8143, 0),
        ("house-rooms/rooms-2016-01-11-to-03-19.csv", "csv", 2421, 0),
        ("otgw-boiler/boiler-a-heating-evening.tsv", "capture", 4273, 0),
        ("otgw-boiler/boiler-a-lossy-log.tsv", "capture", 626, 0),
        ("mysensors-serial/gw-2.1.0-boot-node5-joins.txt", "lines", 31, 0),
        ("mysensors-serial/gw-2.2.0-rc2-first-lines.tsv", "capture", 2, 0),
        ("rflink-serial/received-samples-a.txt", "lines", 33, 0),
        ("evohome-serial/house-1-one-day.log", "lines", 1026, 0),
    ],
)
def test_recorded_files_are_known_for_what_they_are(
    recorded: Recorded, name: str, form: str, lines: int, skipped: int
) -> None:
    recording = open_recording(recorded(name))
    assert (recording.form, sum(1 for _ in recording), recording.skipped) == (form, lines, skipped)


def test_the_office_and_the_house_come_out_as_recorded(recorded: Recorded) -> None:
    office = open_recording(recorded("office-occupancy/datatraining.txt"))
    assert next(iter(office)).data == (
        b'{"Temperature":23.18,"Humidity":27.272,"Light":426,"CO2":721.25,'
        b'"HumidityRatio":0.00479298817650529,"Occupancy":1}\n'
    )
    assert span_s(office) == pytest.approx(5 * 86_400 + (9.55 + 6.15) * 3600, abs=60)
    house = open_recording(recorded("house-rooms/rooms-2016-01-11-to-03-19.csv"))
    rows = [json.loads(line.data) for line in house]
    assert rows[0]["T1"] == 19.89
    assert all(len(row) == 21 and all(type(value) in (int, float) for value in row.values()) for row in rows)
    assert min(row["T6"] for row in rows) < -5


def test_a_defective_clock_does_not_stretch_an_evening(recorded: Recorded) -> None:
    evening = open_recording(recorded("otgw-boiler/boiler-a-heating-evening.tsv"))
    times = [line.at_s for line in evening if line.at_s is not None]
    assert span_s(evening) == pytest.approx(max(times) - times[0], abs=0.01)


def span_s(recording: object) -> float:
    timeline = Timeline()
    return max(timeline.at(line.at_s) for line in recording)  # type: ignore[attr-defined]


def test_a_recording_of_bytes_is_what_the_device_said(tmp_path: Path) -> None:
    """Chunks as they came, not lines; the other direction, words and spoilt rows are left out."""
    path = tmp_path / "a.rec"
    path.write_bytes(
        b"# hearthgate recording 1\n# link: usb0\n0.500000\t<\ta\\x00\\\\n\n0.600000\t>\task\\n\n# 0.7 down: gone\n"
        b"1.250000\t<\tb\\r\\n\\tc\nspoilt\n1.300000\t<\tbad\\q\n"
    )
    recording = open_recording(path)
    assert recording.form == "recording"
    assert list(recording) == [Line(b"a\x00\\n", 0.5), Line(b"b\r\n\tc", 1.25)]
    assert recording.skipped == 2
    with pytest.raises(UsageError, match="--line-end"):
        open_recording(path, line_end=b"\n")
