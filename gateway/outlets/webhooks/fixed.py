"""Brings the configuration's subscriptions, by name, to what it says now."""

from collections.abc import Sequence

import msgspec

from gateway.core.clock import format_time
from gateway.core.errors import GatewayError
from gateway.outlets.webhooks.lines import Lines
from gateway.outlets.webhooks.sender import Sender
from gateway.outlets.webhooks.subscriptions import Fixed, Record, check_secrets, checked, new_id

BAD: str = "configuration: "
"""How the reason of one begins that the configuration does not let be."""


async def reconcile(lines: Lines, sender: Sender, wishes: Sequence[Fixed]) -> None:
    """Makes, changes and removes. One that cannot be used is disabled with an alert, and the others go on."""
    mine = {record.name: record for record in lines.records.values() if record.fixed}
    for gone in mine.keys() - {wish.name for wish in wishes}:
        await lines.remove(mine[gone])
    for wish in wishes:
        await _bring(lines, sender, wish, mine.get(wish.name))


async def _bring(lines: Lines, sender: Sender, wish: Fixed, old: Record | None) -> None:
    try:
        settings = _settings(sender, wish)
    except GatewayError as error:
        await _refuse(lines, wish, old, f"{BAD}{error}; {error.hint}")
        return
    if wish.fault:
        await _refuse(lines, wish, old, f"{BAD}{wish.fault}")
    elif old is None:
        await lines.begin(_record(lines, wish.name, settings), lines.tools.journal.head)
    elif old.reason.startswith(BAD):
        await lines.resume(msgspec.structs.replace(old, **settings))
    elif any(getattr(old, name) != value for name, value in settings.items()):
        changed = msgspec.structs.replace(old, **settings)
        has_moved = old.url != changed.url
        if has_moved and old.state in ("disabled", "ended"):
            await lines.resume(changed)  # another receiver, to which nothing of the old one applies
        else:
            await lines.restart(changed, afresh=has_moved)


def _settings(sender: Sender, wish: Fixed) -> dict[str, object]:
    if wish.fault:
        return {}
    settings = checked(
        url=wish.url,
        events=wish.events,
        things=wish.things,
        properties=wish.properties,
        name=wish.name,
        batch=wish.batch,
    )
    newest, *older = check_secrets(wish.secret)
    sender.check(wish.url)
    return settings | {"secret": newest, "old_secrets": tuple(older), "old_secret_until": None}


async def _refuse(lines: Lines, wish: Fixed, old: Record | None, reason: str) -> None:
    if old is None:
        old = _record(lines, wish.name, {"url": wish.url, "secret": ""}, paused=True)
        await lines.begin(old, lines.tools.journal.head)
    await lines.stop(old, "disabled", reason)


def _record(lines: Lines, name: str, settings: dict[str, object], *, paused: bool = False) -> Record:
    now = format_time(lines.tools.clock.wall_s())
    given = {"id": new_id(), "name": name, "since": now, "created": now, "fixed": True, **settings}
    if paused:
        given |= {"state": "paused", "parked": lines.tools.journal.cursor()}
    return Record(**given)  # type: ignore[arg-type]  # the settings are checked
