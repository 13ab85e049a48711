"""Run as root, a command acts as the owner of the state directory: the service must be able to read what is written there."""

import os
from pathlib import Path


def become_owner(state_dir: Path) -> None:
    """Does nothing unless run as root, or where there is no such directory yet, or it is root's own."""
    import pwd

    if os.geteuid() != 0 or not state_dir.is_dir() or state_dir.stat().st_uid == 0:
        return
    owner = state_dir.stat()
    try:
        os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)  # dialout and gpio, for the lines
    except KeyError:
        os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
