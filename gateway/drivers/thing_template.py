"""Which thing a line of fields speaks of: always the same one, or one named by the fields themselves, as `{model}-{id}`."""

from collections.abc import Mapping
from string import Formatter

from gateway.core.values import Scalar


class ThingTemplate:
    """
    Args:
        text: a name; `{field}` in it stands for that field's value, `{{` and `}}` for braces.

    Attributes:
        fields: the fields that it uses; empty for a fixed name.

    Raises:
        ValueError: the text is no template.
    """

    def __init__(self, text: str) -> None:
        self._parts: list[tuple[str, str | None]] = []
        for literal, field, spec, conversion in Formatter().parse(text):
            if field is not None and (not field or spec or conversion):
                raise ValueError(f"{text!r}: write each field by its name alone, as in {{model}}-{{id}}")
            self._parts.append((literal, field))
        self.fields = frozenset(field for _, field in self._parts if field is not None)
        self._fixed = None if self.fields else "".join(literal for literal, _ in self._parts)

    def name(self, fields: Mapping[str, Scalar]) -> str | None:
        """The thing's name; None when one of the fields is missing."""
        if self._fixed is not None:
            return self._fixed
        name = ""
        for literal, field in self._parts:
            name += literal
            if field is not None:
                value = fields.get(field)
                if value is None:
                    return None
                name += _spell(value)
        return name


def _spell(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
