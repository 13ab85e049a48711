"""HTTP on the LAN: poll, long-poll, SSE, commands, tokens, subscriptions, status and the page."""

from gateway.outlets.http.listening import ListenError
from gateway.outlets.http.server import HttpOutlet, Settings

__all__ = ["HttpOutlet", "ListenError", "Settings"]
