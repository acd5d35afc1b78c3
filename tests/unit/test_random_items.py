"""The made-up notes: always the same ones, fit for our own API, and quick to make."""

from __future__ import annotations

from gorgond.http.bodies import check_item
from gorgond.providers.random import FIRST_TS, RandomItems


def test_a_note_depends_on_its_settings_and_number_alone() -> None:
    # given two sources of one seed
    one, other = RandomItems(7, 100, 500), RandomItems(7, 100, 500)
    # when they are asked in different orders
    forth = [one.item(n) for n in range(50)]
    back = [other.item(n) for n in reversed(range(50))]
    # then they give the same notes
    assert forth == back[::-1]


def test_another_seed_makes_other_notes() -> None:
    one, other = RandomItems(1, 100, 500).item(3), RandomItems(2, 100, 500).item(3)
    assert one["id"] != other["id"]
    assert one["body"] != other["body"]


def test_what_makes_another_content_makes_another_id() -> None:
    """So a provider whose settings are changed makes new notes, and no conflicts with the old ones."""
    settings = ((0, 100, 500), (1, 100, 500), (0, 10, 500), (0, 100, 50))
    assert len({RandomItems(*each).id(3) for each in settings}) == 4


def test_ids_are_unique_and_ts_grows() -> None:
    source = RandomItems(0, 100, 10)
    items = [source.item(n) for n in range(1000)]
    assert len({item["id"] for item in items}) == 1000
    assert [item["ts"] for item in items] == list(range(FIRST_TS, FIRST_TS + 1000))
    assert items[5]["id"] == source.id(5)


def test_every_user_gets_as_many() -> None:
    source = RandomItems(0, 10, 10)
    assert sorted(source.item(n)["userid"] for n in range(30)) == sorted(list(range(10)) * 3)


def test_the_body_has_the_size_asked_for() -> None:
    for size in (0, 1, 1800, 100_000):
        source = RandomItems(0, 10, size)
        assert {len(source.item(n)["body"].encode()) for n in range(200)} == {size}


def test_notes_fit_our_own_api() -> None:
    source = RandomItems(2**63 - 1, 10**9, 100)
    for n in (0, 1, 10**10):
        check_item(source.item(n))
    assert set(source.item(0)) == {"id", "title", "body", "url", "ts", "location", "keywords", "userid"}
