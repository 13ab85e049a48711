"""The kinds of number on the command line, each refusing in words."""

from __future__ import annotations

import argparse
import math

from firmware_sim.replay import FLAT_OUT

SPEED_MAX = 10_000.0


def _number(text: str, low: float, high: float, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return number


def positive(text: str) -> float:
    return _number(text, 0.01, 1e9, "a number of seconds from 0.01")


def hour(text: str) -> float:
    return _number(text, 0, 24, "an hour from 0 to 24")


def speed(text: str) -> float:
    return _number(text, 0.01, SPEED_MAX, f"a speed from 0.01 to {SPEED_MAX:g}")


def speed_or_max(text: str) -> float:
    return FLAT_OUT if text == "max" else _number(text, 0.001, 1e9, "a speed, a number or max")


def count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of times, 1 or more")
    return int(text)


def port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)
