"""Every attack is carried out in a small form: the gateway lives, the reader gets right answers, descriptors come back."""

import shutil

import pytest

from tests.soak import hostile
from tests.soak.attacks import ATTACKS, Attack


@pytest.mark.skipif(shutil.which("gcc") is None, reason="the attackers are built with gcc")
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_hostile_client_stops_nobody(attack: Attack, capsys: pytest.CaptureFixture[str]) -> None:
    """No latency is asserted here; that an attack is under way, and that the reader is answered rightly meanwhile, is."""
    if attack.absent():
        pytest.skip(attack.absent())
    assert hostile.main(["--short", "--only", attack.name]) == 0
    assert f"{attack.name}: " in capsys.readouterr().out
