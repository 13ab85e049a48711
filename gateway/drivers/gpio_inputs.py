"""The inputs of a `gpio` link, as things: what their debounced levels mean, and how many pulses there were."""

from gateway.core.intake import Intake
from gateway.core.things import Description, PropertyDescription
from gateway.core.values import Scalar, make_id
from gateway.drivers.gpio_counter import PulseRate, Total
from gateway.drivers.gpio_kinds import KINDS, MEASURES
from gateway.drivers.gpio_options import PinOptions
from gateway.links.debounce import Debounce, Settled
from gateway.links.gpio import Edge, PinSetup

CHATTER_S = 2.0
"""An input that has not been quiet for so long is broken or floating: its value is bad."""

_ZERO_AFTER_S, _REPORT_EVERY_S = 900.0, 1.0


class Input:
    """A contact, motion detector or button: one boolean, true at one of the levels."""

    def __init__(self, thing: str, options: PinOptions, intake: Intake) -> None:
        kind = KINDS[options.kind]
        self.thing, self.number, self.property = make_id(thing), options.pin, kind.name
        self.setup = PinSetup(options.pin, False, options.pull or kind.pull)
        self.description = Description(
            model=f"{options.kind} on GPIO{options.pin}", properties={kind.name: kind.description}
        )
        self._is_active_low = kind.is_active_low if options.active_low is None else options.active_low
        self._intake = intake
        self._settle_s = options.debounce_ms / 1000
        self._debounce = Debounce(False, self._settle_s)
        self._chatters = False

    @property
    def due_s(self) -> float | None:
        """When to call `settle` if no edge comes before."""
        return self._debounce.due_s

    def greet(self, level: bool, now_s: float) -> None:
        """The pins are open, with this level."""
        self._debounce, self._chatters = Debounce(level, self._settle_s), False
        self._intake.describe(self.thing, self.description)
        self._say_now(now_s)

    def edge(self, edge: Edge) -> None:
        self._settled(self._debounce.edge(edge.level, edge.mono_s))
        since_s = self._debounce.since_s
        if not self._chatters and since_s is not None and edge.mono_s - since_s > CHATTER_S:
            self._chatters = True
            self._spoil(f"it has not been quiet for {CHATTER_S:g} s")

    def settle(self, now_s: float) -> None:
        """Says what is due."""
        if self._debounce.since_s is not None:
            self._settled(self._debounce.settle(now_s))

    def look(self, level: bool, now_s: float) -> None:
        """The level as it was read just now: an edge that the pin library missed shows as one that nobody told of."""
        if self._debounce.since_s is None and level != self._debounce.level:
            self.edge(Edge(self.number, level, now_s))

    def leave(self, now_s: float) -> None:
        """The pins are lost, or about to be closed."""

    def _settled(self, settled: Settled | None) -> None:
        if settled is not None:
            self._say(settled)
        elif self._chatters and self._debounce.since_s is None:
            self._say_now(None)
        if self._debounce.since_s is None:
            self._chatters = False

    def _spoil(self, reason: str) -> None:
        self._intake.bad(self.thing, self.property, reason)

    def _say(self, settled: Settled) -> None:
        self._report(settled.level, settled.mono_s)

    def _say_now(self, now_s: float | None) -> None:
        self._report(self._debounce.level, None)

    def _report(self, level: bool, mono_s: float | None) -> None:
        self._intake.report(self.thing, {self.property: level != self._is_active_low}, mono_s=mono_s)


class Counter(Input):
    """Counts the levels with which pulses begin; its total can be set to what the meter's dial shows.

    What is counted is remembered and reported in one turn, so that neither is behind the other but by the commits. A total is taken up
    where it was left: as it was remembered or, if that is more, as it was last reported. So a crash costs what was counted in the last
    `report_every_s` and not yet committed. What came while nobody watched the pin is not counted, but for the one pulse that shows in a
    level that has changed while the pins were lost.
    """

    def __init__(self, thing: str, options: PinOptions, intake: Intake) -> None:
        super().__init__(thing, options, intake)
        measure = MEASURES.get(options.class_ or "")
        unit = options.unit or (measure.unit if measure else "")
        self._per_pulse = 1.0 if options.per_pulse is None else options.per_pulse
        self._counted = options.edge == "rising"
        self._zero_after_s = options.zero_after_s or _ZERO_AFTER_S
        self._report_every_s = options.report_every_s or _REPORT_EVERY_S
        self.property = options.class_ or self.property
        self._rate_name = measure.rate if measure else "rate"
        per_hour = measure.per_hour[unit] if measure else 1 / 60
        self._rate_of_pulses = 3600 * self._per_pulse * per_hour
        total = PropertyDescription(type="number", unit=unit or None, class_=options.class_, writable=True, min=0)
        rate = PropertyDescription(
            type="number",
            unit=measure.rate_unit if measure else f"{unit or '1'}/min",
            class_=measure.rate_class if measure else None,
        )
        self.description = Description(
            model=self.description.model, properties={self.property: total, self._rate_name: rate}
        )
        held = intake.memory.get(self.thing)
        self._total = Total(self._per_pulse, unit, held)
        self._may_catch_up = held is None or held["unit"] == unit
        self._rate = PulseRate(self._zero_after_s, 0.0)
        self._is_watched = False
        self._said_s = float("-inf")
        self._pulse_s: float | None = None
        self._has_new = False
        self._is_aligning = False
        self._has_missed = False
        """Pulses were missed: the rate is not known until there are two new ones."""

    @property
    def due_s(self) -> float | None:
        dues_s = [super().due_s, self._say_due_s]
        return min((at_s for at_s in dues_s if at_s is not None), default=None)

    def greet(self, level: bool, now_s: float) -> None:
        if self._may_catch_up:
            self._catch_up()
        if self._said_s > 0 and level == self._counted != self._debounce.level:
            self._total.add()
        self._rate, self._is_watched, self._pulse_s = PulseRate(self._zero_after_s, now_s), True, None
        super().greet(level, now_s)

    def settle(self, now_s: float) -> None:
        super().settle(now_s)
        due_s = self._say_due_s
        if due_s is not None and now_s >= due_s:
            self._say_now(now_s)

    def look(self, level: bool, now_s: float) -> None:
        """Also says again what it counts: the pin is watched, so its silence means that there was no pulse."""
        super().look(level, now_s)
        if self._may_say:
            self._say_now(now_s)

    def leave(self, now_s: float) -> None:
        super().settle(now_s)
        if self._may_say:
            self._say_now(now_s)
        self._is_watched = False

    async def align(self, total: float) -> None:
        """The meter's dial shows this. Returns when it is durable and reported; what is counted meanwhile is reported after it."""
        self._total.set(total)
        self._intake.memory.put(self.thing, self._total.dump())
        self._is_aligning = True
        try:
            await self._intake.memory.kept()
        finally:
            self._is_aligning = False
        if self._is_watched:
            self._intake.report(self.thing, {self.property: total})
            self._has_new = self._has_new or self._total.value != total

    @property
    def _may_say(self) -> bool:
        return self._is_watched and not self._chatters and not self._is_aligning

    @property
    def _say_due_s(self) -> float | None:
        """When its values have to be said next: new pulses, or a rate that has fallen for want of them."""
        if not self._may_say:
            return None
        rate_s = self._rate.due_s
        if not self._has_new:
            return rate_s
        new_s = self._said_s + self._report_every_s
        return new_s if rate_s is None else min(rate_s, new_s)

    def _spoil(self, reason: str) -> None:
        super()._spoil(reason)
        self._intake.bad(self.thing, self._rate_name, reason)
        self._has_missed = True

    def _say(self, settled: Settled) -> None:
        """A level has settled; whoever calls `settle` has it said when it is due."""
        if settled.level == self._counted:
            self._total.add()
            self._rate.mark(settled.mono_s)
            self._pulse_s, self._has_new = settled.mono_s, True

    def _say_now(self, now_s: float | None) -> None:
        if now_s is None:  # the chatter is over; `settle` says what has become of it
            self._has_new = True
            return
        if self._has_missed:
            self._rate, self._has_missed = PulseRate(self._zero_after_s, now_s), False
        taken_s = self._pulse_s if self._has_new else None
        self._said_s, self._has_new = now_s, False
        self._intake.memory.put(self.thing, self._total.dump())
        values: dict[str, Scalar] = {self.property: self._total.value}
        rate = self._rate.take(now_s)
        if rate is not None:
            values[self._rate_name] = float(f"{rate * self._rate_of_pulses:.4g}")
        self._intake.report(self.thing, values, mono_s=taken_s)

    def _catch_up(self) -> None:
        """A crash may have cost what was to be remembered within seconds; what was reported is in the journal."""
        self._may_catch_up = False
        last = self._intake.last(self.thing, self.property)
        if isinstance(last, int | float) and not isinstance(last, bool):
            missing = round((last - self._total.value) / self._per_pulse)
            if missing > 0:
                self._total.add(missing)
