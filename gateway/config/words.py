"""Single values: what may be wrong with one, and the mend. Each check returns None for a value that can be used.

No flaw repeats what could be a secret: a path may turn out to be the password itself, and a URL may hold one.
"""

import os
import re
import stat
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.core.change import TYPES
from gateway.core.values import RESERVED_IDS


class Flaw(NamedTuple):
    """What is wrong with a value, and what to write instead."""

    what: str
    mend: str


def close_to(word: str, known: Sequence[str]) -> str | None:
    """The known word that was meant, perhaps."""
    from difflib import get_close_matches  # imported only when something is wrong

    found = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return found[0] if found else None


def check_id(text: str) -> Flaw | None:
    """Names of links, hooks and subscriptions: ids as things have them, written out."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        return Flaw("it is no id", "use 1 to 64 letters, digits, dots, hyphens and underscores")
    return _check_reserved(text)


def check_gateway_id(text: str) -> Flaw | None:
    """The id of the gateway: a level of every topic, and a part of names in DNS."""
    if re.fullmatch(r"[a-z0-9-]{1,64}", text):
        return None
    made = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64] or "hall-pi"
    return Flaw("it has more than small letters, digits and hyphens", f'write "{made}"')


def check_id_glob(text: str) -> Flaw | None:
    """Keys of `[things]` and of their properties."""
    if not re.fullmatch(r"[A-Za-z0-9._*?!\[\]-]{1,128}", text):
        return Flaw(
            "no id is spelled so", "use letters, digits, dots, hyphens, underscores, and * and ? for any others"
        )
    return _check_reserved(text)


def _check_reserved(text: str) -> Flaw | None:
    if text not in RESERVED_IDS:
        return None
    return Flaw("the word is reserved", f'use another; what calls itself so becomes "{text}_"')


def check_listen(text: str) -> Flaw | None:
    """`host:port`, IPv6 in brackets. Port 0 is any free one."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        return Flaw("it has no port", f'write "{_listen_mend(text)}"')
    if not host or host == "*":
        return Flaw("it has no host", f'write "[::]:{port}" for every address of this machine')
    if ":" in host and not re.fullmatch(r"\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]", host):
        return Flaw("an IPv6 address stands in brackets", f'write "[{host.strip("[]")}]:{port}"')
    if ":" not in host and not re.fullmatch(r"[A-Za-z0-9._-]+", host):
        return Flaw("its host is neither an address nor a name", 'write "[::]:8420" or "192.168.1.20:8420"')
    return None


def _listen_mend(text: str) -> str:
    if re.fullmatch(r"[0-9]{1,5}", text):
        return f"[::]:{text}"
    return f"{text}:8420" if re.fullmatch(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]", text) else "[::]:8420"


def check_host(text: str) -> Flaw | None:
    """A name under which the gateway is reached: no scheme, no port."""
    if re.fullmatch(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?", text):
        return None
    return Flaw("it is no host name", 'write the name alone, as "pi.fritz.box", without scheme and port')


def check_broker(text: str) -> Flaw | None:
    """URL of an MQTT broker."""
    flaw = _check_url(text, ("mqtt", "mqtts", "ws", "wss"), "mqtts://broker.example:8883")
    if flaw:
        return flaw
    parts = urlsplit(text)
    if parts.username is not None:
        return Flaw("it holds credentials", "move them to mqtt.username and, in a file, to mqtt.password_file")
    if parts.query or parts.fragment or (parts.path not in ("", "/") and parts.scheme in ("mqtt", "mqtts")):
        return Flaw("there is something behind the host", 'write it as "mqtts://broker.example:8883"')
    return None


def check_callback(text: str) -> Flaw | None:
    """URL of a receiver of webhooks. Where it may lead is for `webhooks.allow` to say."""
    flaw = _check_url(text, ("http", "https"), "https://cloud.example/hooks/heating")
    if flaw:
        return flaw
    parts = urlsplit(text)
    if parts.username is not None:
        return Flaw("it has a user name before the host", "leave it out; deliveries are signed instead")
    if "#" in text:
        return Flaw("it has a fragment, which no server ever sees", "leave out # and what follows")
    return None


def _check_url(text: str, schemes: Sequence[str], example: str) -> Flaw | None:
    mend = f'write it as "{example}"'
    if any(char <= " " or char in "\\\x7f" for char in text):
        return Flaw("it has a space, a backslash or a control character", mend)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return Flaw("it is no URL", mend)
    if parts.scheme not in schemes or "://" not in text:
        return Flaw(f"it begins with none of {', '.join(f'{scheme}://' for scheme in schemes)}", mend)
    if not host:
        return Flaw("it names no host", mend)
    return Flaw("its port is 0", mend) if port == 0 else None


def check_allowed(text: str) -> Flaw | None:
    """An item of `webhooks.allow`: a name or a network."""
    names = ("public-https", "public-http", "lan", "loopback")
    if text in names:
        return None
    from ipaddress import ip_network  # imported only when used

    try:
        ip_network(text)
    except ValueError:
        pass
    else:
        return None
    try:
        return Flaw("it has bits beyond its mask", f'write "{ip_network(text, strict=False)}"')
    except ValueError:
        meant = close_to(text, names)
    return Flaw(
        f"it is neither a network nor one of {', '.join(names)}",
        f'write "{meant}"' if meant else 'write a network as "192.168.1.0/24"',
    )


def check_event_glob(text: str) -> Flaw | None:
    """A type of change, or a glob that at least one type matches."""
    from fnmatch import fnmatchcase

    if any(fnmatchcase(type_, text) for type_ in TYPES):
        return None
    meant = close_to(text, TYPES)
    return Flaw("no change has such a type", f'write "{meant}"' if meant else f"choose of {', '.join(TYPES)}")


def check_topic(text: str) -> Flaw | None:
    """The first levels of MQTT topics."""
    if text.startswith("$") or not re.fullmatch(r"[^/+#\x00-\x1f\x7f]+(/[^/+#\x00-\x1f\x7f]+)*", text):
        return Flaw("no topic begins so", 'write levels of plain words, as "hearthgate" or "home/hearthgate"')
    return None


def check_path(text: str) -> Flaw | None:
    """A path that means the same from wherever the gateway is started. Empty: not given."""
    if not text or (text.startswith("/") and "\0" not in text):
        return None
    return Flaw("it is no absolute path", "write the path from / on, as /etc/hearthgate/a.secret")


def check_file(text: str) -> Flaw | None:
    """A file that has to be there. Empty: not given."""
    if not text:
        return None
    try:
        is_file = stat.S_ISREG(os.stat(text).st_mode)
    except FileNotFoundError:
        return Flaw(f"there is no file {text}", "create it, or mend the path")
    except (OSError, ValueError) as error:
        return Flaw(
            f"{text} cannot be reached: {getattr(error, 'strerror', None) or error}", "let the gateway's user read it"
        )
    if not is_file:
        return Flaw(f"{text} is not a file", "name a file")
    if not os.access(text, os.R_OK):
        return Flaw(f"{text} may not be read by this user", "let the gateway's user read it")
    return None


def check_credential_name(text: str) -> Flaw | None:
    """The name of a systemd credential. Empty: not given."""
    if not text or (re.fullmatch(r"[A-Za-z0-9._-]{1,255}", text) and text not in (".", "..")):
        return None
    return Flaw("it is no name of a credential", "write the name that LoadCredential= gives it, as mqtt-password")


def check_credential(text: str) -> Flaw | None:
    """A credential that has to be there, as far as can be seen: outside the service there is none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if text and folder and not os.access(os.path.join(folder, text), os.R_OK):
        return Flaw(f"the service was given no credential {text}", f"add LoadCredential={text}:PATH to the unit")
    return None
