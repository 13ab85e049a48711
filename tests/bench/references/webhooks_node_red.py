"""Signed webhooks by Node-RED: a function node that makes each receiver's next request, and the http request node in a loop with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.broker import free_port


def absent() -> str:
    """Why it cannot run here; empty when it can."""
    return "" if shutil.which("node-red") else "not installed (npm install -g --unsafe-perm node-red)"


@contextmanager
def delivering(folder: Path, changes: Path, secret: str, ports: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    """A Node-RED that sends these changes to each of the ports, one request under way at each."""
    home = folder / "node-red"
    home.mkdir()
    (home / "flows.json").write_text(json.dumps(_flow(changes, secret, ports)))
    (home / "settings.js").write_text(
        f'module.exports = {{ uiPort: {free_port()}, uiHost: "127.0.0.1", flowFile: "flows.json",'
        ' functionGlobalContext: { crypto: require("crypto"), fs: require("fs") } }\n'
    )
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            ["node-red", "--userDir", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"HOME": str(home)},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


_BEGIN = """
const lines = global.get("fs").readFileSync(%s, "utf8").trim().split("\\n");
context.set("lines", lines);
context.set("key", Buffer.from(%s, "base64"));
"""
_NEXT = """
function request(port, at) {
    const line = context.get("lines")[at];
    if (line === undefined) return null;
    const change = JSON.parse(line), now = String(Math.floor(Date.now() / 1000));
    const body = `{"type":"${change.type}","timestamp":"${change.time}","data":${line}}`;
    const signed = global.get("crypto").createHmac("sha256", context.get("key"));
    const signature = signed.update(`${change.id}.${now}.${body}`).digest("base64");
    return { port, at, method: "POST", url: `http://127.0.0.1:${port}/hook`, payload: Buffer.from(body), headers: {
        "Content-Type": "application/json", "webhook-id": change.id, "webhook-timestamp": now,
        "webhook-signature": "v1," + signature, "ce-specversion": "1.0", "ce-id": change.id,
        "ce-source": "urn:reference:bench", "ce-type": change.type, "ce-time": change.time,
        "ce-subject": `${change.thing}/${change.name}`, "ce-sequence": String(change.seq).padStart(20, "0") } };
}
if (msg.statusCode === undefined) return [msg.payload.map(port => request(port, 0))];
if (msg.statusCode < 200 || msg.statusCode > 299) throw new Error(`answered ${msg.statusCode}`);
return request(msg.port, msg.at + 1);
"""


def _flow(changes: Path, secret: str, ports: Sequence[int]) -> list[dict[str, Any]]:
    begin = _BEGIN % (json.dumps(str(changes)), json.dumps(secret.removeprefix("whsec_")))
    start = {
        "id": "start",
        "type": "inject",
        "z": "flow",
        "once": True,
        "onceDelay": 0.1,
        "props": [{"p": "payload", "v": json.dumps(list(ports)), "vt": "json"}],
        "wires": [["next"]],
    }
    following = {
        "id": "next",
        "type": "function",
        "z": "flow",
        "func": _NEXT,
        "initialize": begin,
        "outputs": 1,
        "wires": [["post"]],
    }
    post = {
        "id": "post",
        "type": "http request",
        "z": "flow",
        "method": "use",
        "ret": "txt",
        "paytoqs": "ignore",
        "url": "",
        "persist": True,
        "senderr": False,
        "wires": [["next"]],
    }
    return [{"id": "flow", "type": "tab", "label": "webhooks"}, start, following, post]
