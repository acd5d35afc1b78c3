"""How many replicas are waited for, by what a master says of them."""

from __future__ import annotations

from gorgond.redpill.copies import Copies


def role(sent: int, **told: int) -> list[object]:
    """A master's answer to ROLE: what it has sent, and what each replica has told to have."""
    return [b"master", sent, [[name.encode(), b"6379", b"%d" % offset] for name, offset in told.items()]]


def test_all_that_follow_are_waited_for_and_so_many_at_least_as_must_have_it() -> None:
    assert Copies(1, role(100, a=0, b=0)).awaited == 2
    assert Copies(1, role(100)).awaited == 1
    assert Copies(2, role(100, a=0)).awaited == 2


def test_one_that_lets_a_round_wait_in_vain_is_waited_for_again_when_it_has_what_there_was_then() -> None:
    copies = Copies(1, role(100, a=100, b=100))
    # when a does not have it in time, then it counts, and the next one does not wait for it
    assert copies.suffice(1, role(120, a=100, b=120))
    assert copies.awaited == 1
    # nor while it lacks something of that
    assert copies.suffice(1, role(140, a=119, b=140))
    # and what was sent before it had all counts when it has that too
    assert not copies.suffice(1, role(160, a=120, b=160))
    assert copies.awaited == 2
    assert copies.suffice(2, role(160, a=160, b=160))


def test_one_that_is_back_is_waited_for_as_soon_as_it_has_what_there_was_when_it_was_not_there() -> None:
    copies = Copies(1, role(100, a=100))
    # given one that has told nothing yet
    assert copies.suffice(1, role(120, a=120, b=0))
    assert copies.suffice(1, role(140, a=140, b=99))
    # when it has what there was at the last look without it
    assert not copies.suffice(1, role(160, a=160, b=100))
    assert copies.awaited == 2


def test_the_one_that_has_it_is_waited_for_and_not_another_in_its_place() -> None:
    copies = Copies(1, role(100, a=100, b=100))
    assert copies.suffice(1, role(120, a=100, b=120))
    # when a has all again in the moment in which b is slow, then b is waited for all the same
    assert not copies.suffice(1, role(140, a=140, b=120))
    # and when it hangs, it is left out, and no other
    assert copies.suffice(1, role(160, a=160, b=120))
    assert not copies.suffice(1, role(180, a=170, b=180))


def test_one_that_is_gone_is_not_waited_for() -> None:
    copies = Copies(1, role(100, a=100, b=100))
    assert copies.suffice(1, role(120, b=120))
    assert copies.awaited == 1
