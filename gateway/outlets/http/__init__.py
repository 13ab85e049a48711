"""HTTP on the LAN: poll, long-poll, SSE, commands, tokens, subscriptions, status and the page."""
