"""Logging: one form for a terminal, one for systemd's journal, and no secret in either.

Secrets are masked when a record is made, before any handler, filter or formatter has seen it: in the message, in its arguments, in
tracebacks. Control characters are spelled out, so that what a device or a stranger sends can neither begin a line nor move a cursor.
"""

import logging
import os
import re
import sys
from typing import IO, Any, Final

OURS: Final = "gateway"


def set_up_logging(level: str = "info", stream: IO[str] | None = None) -> None:
    """Sets up the logging of the process; calling it again replaces what it did before.

    Args:
        level: `debug`, `info`, `warning` or `error`, for our own loggers; libraries do not go below INFO.
        stream: standard error if not given. Where that leads into systemd's journal, lines carry a priority and no time
            (sd-daemon(3), `$JOURNAL_STREAM` in systemd.exec(5)).
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JournalFormatter() if is_journal(stream) else TerminalFormatter())
    wanted = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(wanted, logging.INFO))
    logging.getLogger(OURS).setLevel(wanted)
    logging.setLogRecordFactory(make_record)
    logging.captureWarnings(True)


def is_journal(stream: IO[str]) -> bool:
    """Whether what is written to the stream goes into systemd's journal."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class TerminalFormatter(logging.Formatter):
    """Local time, level, room and message; tracebacks below."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


class JournalFormatter(logging.Formatter):
    """A priority before each line, since the journal takes each for a message of its own; it knows the time itself."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record's lines, each with `<3>` (error) to `<7>` (debug) before it."""
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))


_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))


def make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """A record whose message is finished, masked and harmless, and has no arguments left."""
    record = logging.LogRecord(*args, **kwargs)
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):  # a message that does not fit its arguments is told as it is
        message = f"{record.msg!s} {record.args!r}"
    record.msg, record.args = escape(mask(message)), None
    if record.exc_info:
        record.exc_text = mask(_TRACEBACKS.formatException(record.exc_info))
    if record.stack_info:
        record.stack_info = mask(record.stack_info)
    return record


_TRACEBACKS: Final = logging.Formatter()


def escape(text: str) -> str:
    """Spells control characters out, newlines too, and what cannot be encoded."""
    if text.isprintable():
        return text
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def mask(text: str) -> str:
    """The text with every secret of a known form replaced by `***`."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


_NAMES: Final = r"password|passwd|passphrase|secret|access_token|api_?key|hub\.secret"
_SECRETS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), instead)
    for pattern, instead in (
        # our own tokens, the signing secrets of Standard Webhooks
        (r"\bhg_[a-z0-9_-]{16,}", "hg_***"),
        (r"\b(whs[ek]c?)_[a-z0-9+/=_-]{8,}", r"\1_***"),
        # Authorization: Basic …, as a header line or as a pair in a dict or tuple
        (
            r"(authorization[\"']?[ \t]*[:=,][ \t]*(?:b?[\"'])?)(?:(?:basic|bearer|digest|token)[ \t]+)?[^\s\"']+",
            r"\1***",
        ),
        (r"\b(bearer)[ \t]+[a-z0-9._~+/=-]{8,}", r"\1 ***"),
        # scheme://user:password@host
        (r"(://[^\s/?#:@\"']*):[^\s/?#\"']*@", r"\1:***@"),
        # ?token=…, the page's #t=…
        (r"([?&#](?:t|token|key|auth|code|" + _NAMES + r")=)[^&\s\"'#<>]+", r"\1***"),
        # password='…', "secret": "…", password=…
        (r"(\b(?:" + _NAMES + r")[\"']?[ \t]*[:=][ \t]*b?([\"']))(?:(?!\2).)*\2", r"\1***\2"),
        (r"(\b(?:" + _NAMES + r")=)[^\s\"'&,;)]+", r"\1***"),
    )
)
