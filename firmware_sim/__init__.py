"""Devices without hardware, on the real wire. Imports nothing from the gateway: a second witness of each protocol."""
