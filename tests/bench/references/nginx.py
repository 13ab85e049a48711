"""nginx with one worker: a static file, and Nchan's long-poll channel. Runs in a folder of its own, as who we are."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from tests.bench.references.snapshot import SNAPSHOT
from tests.support.broker import free_port
from tests.support.wait import until_sync

_MODULES = [Path("/usr/lib/nginx/modules"), Path("/usr/share/nginx/modules"), Path("/usr/lib64/nginx/modules")]
_NCHAN = "ngx_nchan_module.so"

_CONFIG = """\
{load}
daemon off;
user {user};
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=100;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ application/json json; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /api/v1/things {{ default_type application/json; alias {folder}/things.json; }}
        {channel}
    }}
}}
"""

_CHANNEL = """\
location = /api/v1/changes { nchan_subscriber longpoll; nchan_channel_id changes; nchan_subscriber_first_message newest; }
        location = /publish { nchan_publisher http; nchan_channel_id changes; nchan_message_buffer_length 10; }
        location = /parked { nchan_stub_status; }
"""


def find_nginx() -> str | None:
    """The program; Debian keeps it where an ordinary user's PATH does not reach."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def find_nchan() -> Path | None:
    """Nchan's module."""
    return next((folder / _NCHAN for folder in _MODULES if (folder / _NCHAN).exists()), None)


def absent(*, nchan: bool = False) -> str:
    """Why it cannot run here; empty when it can."""
    if find_nginx() is None:
        return "nginx is not installed (Debian: apt-get install nginx-light)"
    if nchan and find_nchan() is None:
        return "nginx has no Nchan (Debian: apt-get install libnginx-mod-nchan)"
    return ""


class Nginx:
    """A context manager: it listens at `port` inside.

    Args:
        folder: an empty folder of its own.
        connections: how many it has to hold at most.
        nchan: whether there is the channel: `GET /api/v1/changes`, `POST /publish`, `GET /parked`.
    """

    def __init__(self, folder: Path, *, connections: int, nchan: bool = False) -> None:
        self.port = free_port()
        self._folder = folder
        (folder / "things.json").write_bytes(SNAPSHOT)
        folder.chmod(0o755)
        config = _CONFIG.format(
            load=f"load_module {find_nchan()};" if nchan else "",
            user=getpass.getuser(),
            folder=folder,
            port=self.port,
            connections=connections * 9 // 8 + 100,  # below a sixteenth of free ones it closes idle ones
            files=connections * 9 // 8 + 200,
            channel=_CHANNEL if nchan else "",
        )
        (folder / "nginx.conf").write_text(config)

    def __enter__(self) -> Nginx:
        program = find_nginx()
        assert program is not None
        words = [program, "-p", str(self._folder), "-e", str(self._folder / "error.log"), "-c", "nginx.conf"]
        self._process = subprocess.Popen([*words[:-1], str(self._folder / "nginx.conf")])
        until_sync(self._works, what="nginx starts its worker")
        return self

    @property
    def pids(self) -> list[int]:
        """The master's and the worker's."""
        return [self._process.pid, *self._workers()]

    def _workers(self) -> list[int]:
        pid = self._process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def _works(self) -> bool:
        assert self._process.poll() is None, (self._folder / "error.log").read_text()
        return bool(self._workers())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
