"""How values and types are spelled in messages about the configuration."""

import types
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from gateway.config.places import Path
from gateway.config.secret import is_secretive
from gateway.config.words import close_to


def unannotated(type_: Any) -> tuple[Any, list[msgspec.Meta]]:
    """A type without its notes and without None, and the notes."""
    metas: list[msgspec.Meta] = []
    while True:
        if get_origin(type_) is Annotated:
            type_, *notes = get_args(type_)
            metas += [note for note in notes if isinstance(note, msgspec.Meta)]
        elif get_origin(type_) in (Union, types.UnionType) and len(_without_none(type_)) == 1:
            (type_,) = _without_none(type_)  # TOML has no null: a key is there, or it is not
        else:
            return type_, metas


def _without_none(type_: Any) -> list[Any]:
    return [arm for arm in get_args(type_) if arm is not type(None)]


def show(value: Any) -> str:
    """A value as a message shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the text "{value[:40]}{"…" if len(value) > 40 else ""}"'
    if isinstance(value, int | float):
        return str(value) if abs(value) < 1e21 else f"{value:.3e}" if isinstance(value, float) else "a huge number"
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a date or time"


def quoted(value: Any, path: Path) -> str:
    """A text as the beginning of a message, where it may be shown."""
    return "" if is_delicate(value, path) or not isinstance(value, str) or not value else f'"{value[:60]}": '


def is_delicate(value: Any, path: Path) -> bool:
    """Whether a value could be or hold a secret that took a wrong turn: it stands at such a key, or is a URL."""
    named = [part for part in path if isinstance(part, str)]
    return is_secretive(named[-1] if named else "") or (isinstance(value, str) and ("@" in value or "://" in value))


_PLAIN: Final = {
    bool: ("true or false", "true"),
    int: ("a whole number", "1"),
    float: ("a number", "1.5"),
    str: ("a text", '"…"'),
}


def wanted(type_: Any) -> str:
    """What a type takes, for people."""
    base, metas = unannotated(type_)
    origin = get_origin(base)
    if origin is Literal:
        return "one of " + ", ".join(_toml(word) for word in get_args(base))
    if origin in (tuple, list):
        return "a list"
    if origin in (Union, types.UnionType):
        return " or ".join(wanted(arm) for arm in _without_none(base))
    return (_PLAIN[base][0] if base in _PLAIN else "a table") + "".join(_bounds(metas))


def _bounds(metas: list[msgspec.Meta]) -> list[str]:
    said: list[str] = []
    for meta in metas:
        if meta.ge is not None and meta.le is not None:
            said.append(f" of {meta.ge:,} to {meta.le:,}")
            continue
        limits = ((meta.gt, "above"), (meta.ge, "of at least"), (meta.lt, "below"), (meta.le, "and at most"))
        said += [f" {word} {limit:,}" for limit, word in limits if limit is not None]
        if meta.max_length is not None:
            said.append(f" of {meta.min_length or 0} to {meta.max_length:,} characters")
        elif meta.min_length is not None:
            said.append(f" of at least {meta.min_length} characters")
    return said


def mend_type(value: Any, type_: Any, name: str, path: Path) -> str:
    """What to write instead of a value of the wrong type, made of that value where it can be."""
    base, _ = unannotated(type_)
    origin = get_origin(base)
    if isinstance(base, type) and issubclass(base, msgspec.Struct):
        return f"write a table [{name}] with keys of its own"
    if not isinstance(path[-1] if path else 0, str):
        return f"write {example(type_, name)}"
    if not is_delicate(value, path):
        if origin is Literal and (meant := close_to(str(value), [str(word) for word in get_args(base)])):
            return f"write {name} = {_toml(meant)}"
        if base is str and isinstance(value, bool | int | float):
            return f"write {name} = {_toml(str(value))}, in quotes"
        if isinstance(value, str) and _fits(value, type_):
            return f"write {name} = {value.strip().lower()}, without quotes"
        if origin in (tuple, list) and not isinstance(value, dict | list):
            return f"write {name} = [{_toml(value)}]"
    return f"write {name} = {example(type_, name)}"


def _fits(text: str, type_: Any) -> bool:
    """Whether a text is a number or a truth value that only has quotes too many."""
    base, _ = unannotated(type_)
    if base not in (bool, int, float):
        return False
    try:
        msgspec.convert(text.strip().lower(), type_, strict=False)
    except msgspec.ValidationError:
        return False
    return base is not bool or text.strip().lower() in ("true", "false")


def example(type_: Any, name: str) -> str:
    """A value of the type, as TOML spells it."""
    base, metas = unannotated(type_)
    for meta in metas:
        if meta.examples:
            return _toml(meta.examples[0])
    if name.endswith("_file"):
        return '"/etc/hearthgate/…"'
    origin = get_origin(base)
    if origin is Literal:
        return _toml(get_args(base)[0])
    if origin in (tuple, list):
        return f"[{example(get_args(base)[0], name)}]"
    return _PLAIN[base][1] if base in _PLAIN else "…"


def _toml(value: Any) -> str:
    """A scalar or a list of scalars as TOML spells it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"[{', '.join(_toml(item) for item in value)}]" if isinstance(value, list | tuple) else str(value)
