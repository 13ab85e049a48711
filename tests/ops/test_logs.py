"""What log lines look like, and what never stands in them."""

import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ops.logs import escape, is_journal, mask, set_up_logging

log = logging.getLogger("gateway.links.test")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging belongs to the whole process."""
    root, ours = logging.getLogger(), logging.getLogger("gateway")
    before = root.handlers[:], root.level, ours.level, logging.getLogRecordFactory()
    yield
    root.handlers[:], root.level, ours.level = before[:3]
    logging.setLogRecordFactory(before[3])
    logging.captureWarnings(False)


class Keeper(logging.Handler):
    """Sees records as any handler does."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record)


def logged(level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    set_up_logging(level, stream)
    return stream


SECRETS = [
    ("token hg_0123456789abcdefghij made", "token hg_*** made"),
    ("secret whsec_MDEyMzQ1Njc4OWFiY2RlZg== shown", "secret whsec_*** shown"),
    ("mqtt://hall:hunter2@broker:1883/x", "mqtt://hall:***@broker:1883/x"),
    ("at https://u:hun@ter2@h/p?q=a@b", "at https://u:***@h/p?q=a@b"),
    ("Authorization: Bearer abc.def-ghi", "Authorization: ***"),
    ("{'Authorization': 'Basic aHVudGVyMg==', 'a': 'b'}", "{'Authorization': '***', 'a': 'b'}"),
    ("(b'authorization', b'Bearer hunter2hunter2')", "(b'authorization', b'***')"),
    ("sent Bearer hunter2hunter2 along", "sent Bearer *** along"),
    ("open http://pi:8420/#t=hunter2 now", "open http://pi:8420/#t=*** now"),
    ("GET /x?a=1&token=hunter2&b=2", "GET /x?a=1&token=***&b=2"),
    ("hub.secret=hunter2&hub.mode=subscribe", "hub.secret=***&hub.mode=subscribe"),
    ("MqttConfig(password='hunter2', base='a')", "MqttConfig(password='***', base='a')"),
    ('{"secret": "hunter2", "b": 1}', '{"secret": "***", "b": 1}'),
]

HARMLESS = [
    "mqtt://broker:1883 is back after 3.0 s",
    "http://pi:8420/api/v1/things?thing=a@b",
    "mqtt.password_file: there is no file /etc/a",
    "link hg_usb: open at /dev/ttyUSB0",
    "token create: the token is printed once",
    "10:15:00 to 12:00 @ home",
    "the secret is wrong",
]


@pytest.mark.parametrize(("text", "masked"), SECRETS)
def test_secrets_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize("text", HARMLESS)
def test_the_rest_is_left_alone(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(("text", "masked"), SECRETS)
def test_no_handler_sees_a_secret(text: str, masked: str) -> None:
    """In the message, in an argument, in an exception, its cause, and the stack."""
    logged()
    keeper = Keeper()
    logging.getLogger().addHandler(keeper)
    log.warning(text.replace("%", "%%"))
    log.warning("%s of %r", text, "x")
    try:
        try:
            raise ValueError(text)
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError:
        log.exception("it failed", stack_info=True)
    assert keeper.seen[0].getMessage() == masked
    assert keeper.seen[1].getMessage() == f"{masked} of 'x'"
    for record in keeper.seen:
        for secret in ("hunter2", "hg_0123456789", "MDEyMzQ1", "hun@ter2", "aHVudGVyMg", "abc.def"):
            assert secret not in logging.Formatter().format(record)
            assert secret not in str(record.args)


def test_a_line_for_a_terminal_has_time_level_and_room() -> None:
    stream = logged()
    log.warning("link %s: lost", "usb0")
    day, time, level, name, message = stream.getvalue().split(" ", 4)
    assert (len(day), len(time)) == (10, 12)
    assert (level, name, message) == ("WARNING", "gateway.links.test:", "link usb0: lost\n")


def test_lines_for_the_journal_have_a_priority_each_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback is many lines, and the journal takes each for itself."""
    path = tmp_path / "journal"
    with path.open("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        set_up_logging("debug", stream)
        log.debug("d")
        log.info("i")
        log.warning("w")
        log.error("e")
        log.critical("c")
        try:
            raise ValueError("x")
        except ValueError:
            log.exception("failed")
    lines = path.read_text().splitlines()
    assert lines[:5] == [
        f"<{number}>gateway.links.test: {letter}" for number, letter in zip((7, 6, 4, 3, 2), "diwec", strict=True)
    ]
    assert len(lines) > 7
    assert all(line.startswith("<3>") for line in lines[5:])


@pytest.mark.parametrize("value", ["", "1:2", "x", ":"])
def test_another_stream_is_not_the_journal(value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable is inherited by processes whose stderr leads elsewhere."""
    monkeypatch.setenv("JOURNAL_STREAM", value)
    with (tmp_path / "x").open("w") as stream:
        assert not is_journal(stream)
    assert not is_journal(io.StringIO())


def test_what_a_stranger_sends_cannot_forge_a_line() -> None:
    stream = logged()
    log.info("link usb0: got %s", "a\n<2>forged\x1b[2J\u202e\u2028\ud800")
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("got a\\n<2>forged\\x1b[2J\\u202e\\u2028\\ud800\n")


@given(st.text(max_size=40))
def test_any_text_becomes_one_line_that_can_be_written(text: str) -> None:
    harmless = escape(mask(text))
    assert len(harmless.splitlines()) <= 1
    harmless.encode()


def test_levels_are_ours_and_libraries_stay_quiet() -> None:
    stream = logged("debug")
    log.debug("ours")
    logging.getLogger("asyncio").debug("theirs")
    logging.getLogger("asyncio").info("their news")
    assert [line.split(": ", 1)[1] for line in stream.getvalue().splitlines()] == ["ours", "their news"]
    stream = logged("error")
    log.warning("ours")
    logging.getLogger("asyncio").warning("theirs")
    assert stream.getvalue() == ""


def test_setting_up_twice_does_not_double_the_lines() -> None:
    logged()
    stream = logged()
    log.info("once")
    assert stream.getvalue().count("once") == 1


def test_a_message_that_does_not_fit_its_arguments_is_told_all_the_same() -> None:
    """A mistake of ours in a log line must not print a secret by another way."""
    stream = logged()
    log.warning("%d and %d", "hg_0123456789abcdefghij")
    assert "%d and %d ('hg_***',)" in stream.getvalue()


def test_warnings_are_logged() -> None:
    stream = logged()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert "old thing" in stream.getvalue()
