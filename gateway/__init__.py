"""Hearthgate: the gateway between the things in a building and those who care about them."""

__version__ = "0.1.0"
