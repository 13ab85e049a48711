"""The topics of one gateway: `<base>/<gateway-id>` and what lies below it (design: MQTT upstream)."""


class Topics:
    """Names of topics. Ids of things and properties are safe levels already, and never one of the words used here."""

    def __init__(self, base: str, gateway_id: str) -> None:
        self.root = f"{base.strip('/')}/{gateway_id}"
        self.status = f"{self.root}/status"
        self.info = f"{self.root}/info"
        self.events = f"{self.root}/events"
        self.sets = f"{self.root}/+/+/set"

    def availability(self, thing: str) -> str:
        return f"{self.root}/{thing}/availability"

    def value(self, thing: str, name: str) -> str:
        return f"{self.root}/{thing}/{name}"

    def quality(self, thing: str, name: str) -> str:
        return f"{self.root}/{thing}/{name}/quality"

    def outcome(self, id: str) -> str:
        return f"{self.root}/commands/{id}"

    def target_of(self, topic: str) -> tuple[str, str] | None:
        """Thing and property of a `…/set` topic; None for any other."""
        if not topic.startswith(f"{self.root}/"):
            return None
        levels = topic[len(self.root) + 1 :].split("/")
        if len(levels) != 3 or levels[2] != "set":
            return None
        return levels[0], levels[1]
