"""The libraries that the gateway is made of, imported and left alone: less than this the same libraries cannot take."""

from __future__ import annotations

import asyncio
import sqlite3
import ssl
import sys

import aiohttp.web
import gpiozero
import msgspec
import paho.mqtt.client
import prometheus_client
import serial
import uvloop

USED = (asyncio, sqlite3, ssl, aiohttp.web, gpiozero, msgspec, paho.mqtt.client, prometheus_client, serial, uvloop)

if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.read()
