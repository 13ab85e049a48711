"""`hearthgate demo`: a simulated house, a broker, a receiver of webhooks and every kind of client, around one real gateway."""
