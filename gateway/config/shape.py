"""Turns what TOML gave into the types of the schema, and goes on after each fault so that all of them are told at once.

A value that cannot be used is replaced by its default, so that what stands around it is checked as well; nothing of
what comes out may be used when there is a fault. msgspec converts the single values; it would stop at the first fault.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo, fields

from gateway.config.checks import Finding, check_table
from gateway.config.places import Path
from gateway.config.secret import is_secretive
from gateway.config.wording import example, is_delicate, mend_type, quoted, show, unannotated, wanted
from gateway.config.words import close_to

UNUSABLE: Final = object()
"""Stands for a value that had a fault and has no default."""


class Shaper:
    """Shapes values by types; `findings` collects all that is wrong.

    Args:
        looks: whether files that are named have to be there.
    """

    def __init__(self, *, looks: bool = True) -> None:
        self.findings: list[Finding] = []
        self._looks = looks
        self._misses = 0
        """values that are not what was written there: what is said of the tables around them would be wrong"""

    def shape(self, value: Any, type_: Any, path: Path) -> Any:
        """The value as the type has it, or `UNUSABLE`."""
        base, metas = unannotated(type_)
        if isinstance(base, type) and issubclass(base, msgspec.Struct):
            return self.table(value, base, path)
        origin = get_origin(base)
        if origin in (dict, Mapping) and isinstance(value, dict):
            return self._dict(value, base, path)
        if origin in (tuple, list) and isinstance(value, list) and _is_uniform(base):
            return self._list(value, type_, path)
        return self._single(value, type_, base, metas, path)

    def table(self, value: Any, type_: type[msgspec.Struct], path: Path, beside: Sequence[str] = ()) -> Any:
        """A table as a Struct.

        Args:
            beside: keys that somebody else takes from the same table.
        """
        if not isinstance(value, dict):
            self._wrong_type(value, type_, path)
            return UNUSABLE
        before = self._misses
        known = {field.encode_name: field for field in fields(type_)}
        for key in value:
            if key not in known and key not in beside:
                self.unknown(path, key, [*beside, *known])
        given = {key: self.shape(value[key], field.type, (*path, key)) for key, field in known.items() if key in value}
        for key, field in known.items():
            if key not in value and _is_required(field):
                self.missing(path, key, field.type)
        shaped = self._build(type_, known, given, path)
        if shaped is not UNUSABLE and self._misses == before:
            self.add_all(path, check_table(shaped))
        return shaped

    def add(self, path: Path, what: str, mend: str) -> None:
        """Notes a fault."""
        self.findings.append((path, what, mend))

    def add_all(self, path: Path, findings: Iterable[Finding]) -> None:
        """Notes faults whose paths are below this one."""
        for below, what, mend in findings:
            self.add((*path, *below), what, mend)

    def unknown(self, path: Path, key: str, known: Sequence[str]) -> None:
        """Notes a key that nobody knows; one that looks like a secret in clear is told to move."""
        if is_secretive(key):
            instead = next((f"{key}{end}" for end in ("_file", "_credential") if f"{key}{end}" in known), "")
            others = [other for other in known if other.endswith("_file") and is_secretive(other)]
            named = instead or (others[0] if others else "")
            mend = f'put it into a file and write {named} = "/etc/hearthgate/…"' if named else "take it out"
            self._misses += 1
            self.add((*path, key), "a secret must not stand in the configuration", mend)
            return
        meant = close_to(key, known)
        mend = f"did you mean {meant}?" if meant else f"known here: {', '.join(known) or 'nothing'}"
        self.add((*path, key), "there is no such key", mend)

    def missing(self, path: Path, key: str, type_: Any) -> None:
        """Notes a key that has to be there."""
        self.add((*path, key), "it is missing", f"add {key} = {example(type_, key)}")

    def _build(
        self, type_: type[msgspec.Struct], known: dict[str, FieldInfo], given: dict[str, Any], path: Path
    ) -> Any:
        """Makes the Struct; a driver's own `__post_init__` may refuse one value after the other."""
        usable = {key: value for key, value in given.items() if value is not UNUSABLE}
        while all(key in usable or not _is_required(field) for key, field in known.items()):
            try:
                return type_(**{known[key].name: value for key, value in usable.items()})
            except ValueError as error:
                below, what, mend = _parse_refusal(str(error), usable)
                self.add((*path, *below), what, mend)
                if not below:
                    break
                _drop(usable, below)
        return UNUSABLE

    def _dict(self, value: dict[str, Any], base: Any, path: Path) -> dict[str, Any]:
        key_type, item_type = get_args(base)
        shaped: dict[str, Any] = {}
        for key, item in value.items():
            self.shape(key, key_type, (*path, key))
            one = self.shape(item, item_type, (*path, key))
            if one is not UNUSABLE:
                shaped[key] = one
        return shaped

    def _list(self, value: list[Any], type_: Any, path: Path) -> Any:
        base, _ = unannotated(type_)
        items = [self.shape(item, get_args(base)[0], (*path, at)) for at, item in enumerate(value)]
        if any(item is UNUSABLE for item in items):
            return UNUSABLE
        shaped = get_origin(base)(items)
        _, metas = unannotated(type_)
        if any(meta.min_length and len(shaped) < meta.min_length for meta in metas):
            self.add(path, "the list is empty", f"write {path[-1]} = {example(type_, str(path[-1]))}")
        return shaped

    def _single(self, value: Any, type_: Any, base: Any, metas: list[msgspec.Meta], path: Path) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            self.add(path, f"{value} is no number to reckon with", "write a finite one")
            return UNUSABLE
        try:
            shaped = msgspec.convert(value, type_)
        except msgspec.ValidationError:
            self._wrong_type(value, type_, path)
            return UNUSABLE
        for meta in metas:
            checks = meta.extra or {}
            flaw = checks["check"](value) if "check" in checks else None
            if flaw is None and self._looks and "look" in checks:
                flaw = checks["look"](value)
            if flaw is not None:
                self.add(path, quoted(value, path) + flaw.what, flaw.mend)
                break
        return shaped

    def _wrong_type(self, value: Any, type_: Any, path: Path) -> None:
        name = str(path[-1]) if path else ""
        self._misses += 1
        found = "what stands here" if is_delicate(value, path) else show(value)
        self.add(path, f"{found} is not {wanted(type_)}", mend_type(value, type_, name, path))


def _is_uniform(base: Any) -> bool:
    args = get_args(base)
    return get_origin(base) is list or (len(args) == 2 and args[1] is ...)


def _is_required(field: FieldInfo) -> bool:
    return field.default is NODEFAULT and field.default_factory is NODEFAULT


def _parse_refusal(text: str, given: Mapping[str, Any]) -> Finding:
    """`baud: 9601 is not a serial rate; try 9600` as its three parts; the key may be dotted, `pins.door.pin`."""
    found = re.match(r"([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]+)*): ", text)
    path = tuple(found[1].split(".")) if found else ()
    if not found or path[0] not in given:
        path, found = (), None
    what, _, mend = text[found.end() if found else 0 :].rpartition("; ")
    return (path, what, mend) if what else (path, mend, "see what the driver's documentation says of it")


def _drop(given: dict[str, Any], path: Path) -> None:
    """Takes out what was refused: one table of several where it is in such a one, else the whole key."""
    key = str(path[0])
    inner = given[key]
    if len(path) > 1 and isinstance(inner, dict) and path[1] in inner:
        given[key] = {name: item for name, item in inner.items() if name != path[1]}
    else:
        del given[key]
