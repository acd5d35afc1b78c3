"""One form for addresses, names and passwords."""

from __future__ import annotations

import pytest

from gorgond.auth import texts
from gorgond.redpill import CallFailed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada@Notes.Example", "ada@notes.example"), (" a@b ", "a@b"), ("a+b@c.example", "a+b@c.example"),
        ("u\u0308@b.example", "ü@b.example"), ("Ü@B.example", "ü@b.example"), ("u@my_host", "u@my_host"),
        ("u@bücher.example", "u@bücher.example"), ("u@xn--bcher-kva.example", "u@bücher.example"),
        ("u@BÜCHER.Example", "u@bücher.example"), ("u@bu\u0308cher.example", "u@bücher.example"),
        ("u@XN--BCHER-KVA.example", "u@bücher.example"), ("u@straße.example", "u@straße.example"),
        ("\uff41\uff44\uff41@b.example", "ada@b.example"), ("ada@\uff42.example", "ada@b.example"),
        ("ada\uff20b.example", "ada@b.example"), ("\u1d2cda@b.example", "ada@b.example"),
        ("\ufb01@b.example", "fi@b.example"),
        ("u@例え。テスト", "u@例え.テスト"),
        ("ada@b.example.", "ada@b.example"), ("u@bücher.example。", "u@bücher.example"),
    ],
)  # fmt: skip
def test_an_address_has_one_form(text: str, expected: str) -> None:
    assert texts.address(text) == expected
    assert texts.address(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\nc", "a\0@b", "x" * 65 + "@b", "a@" + "b" * 253,
        "a\u200bda@b.example", "ada@b\u200b.example", "a\u202eda@b.example", "ada@\u202eb.example",
        "a\u00adda@b.example", "ada\ufe0f@b.example", "a\u034fda@b.example", "ada\u3164@b.example",
        "ada\u2800@b.example", "ada\U000e0100@b.example", "ada@\u115f.example", "a@.",
        "a\x85@b", "a\u3000a@b", "a@b\u2028c",
        "a\ue0001@\u2066b", "u@☃-.example", "u@xn--a.example", "u@xn--\u00fc.example",
        "u@" + "ü" * 64 + ".example", "u@ü..example", "u@a\u05d0.example",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(CallFailed) as caught:
        texts.address(text)
    assert (caught.value.code, caught.value.field) == (400, "email")
    # and one that another site tells does not count
    assert texts.address_of(text) == ""


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("Ada@B.example", ("ada@b.example",)),
        ("u@bücher.example", ("u@bücher.example", "u@xn--bcher-kva.example")),
        ("u@xn--bcher-kva.example", ("u@xn--bcher-kva.example", "u@bücher.example")),
        ("\uff41@b.example", ("\uff41@b.example", "a@b.example")),
        ("a\u200b@b.example", ("a\u200b@b.example",)),
        ("u@☃-.example", ("u@☃-.example",)),
    ],
)  # fmt: skip
def test_an_account_is_found_in_the_form_it_was_made_in(text: str, forms: tuple[str, ...]) -> None:
    assert texts.forms(text) == forms


def test_forms_of_what_never_was_an_address_are_refused() -> None:
    with pytest.raises(CallFailed):
        texts.forms("nobody")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada  Lovelace ", "Ada Lovelace"), ("", ""), ("\uff21\uff44\uff41", "Ada"), ("Ada\u3000L\u00a0M", "Ada L M"),
        ("Zoe\u0308", "Zoë"), ("山田", "山田"), ("Ada 🎻", "Ada 🎻"),
    ],
)  # fmt: skip
def test_a_name_has_one_form(text: str, expected: str) -> None:
    assert texts.name(text) == texts.name(expected) == expected


@pytest.mark.parametrize("bad", "\u200b\u202e\u2066\ufeff\u00ad\x1b\x9b\t\n\u2028\x7f")
def test_what_is_not_seen_is_no_part_of_a_name(bad: str) -> None:
    with pytest.raises(CallFailed) as caught:
        texts.name(f"A{bad}da")
    assert (caught.value.code, caught.value.field) == (400, "name")
    # one that another site gives goes without it
    assert texts.name_of(f"A{bad}da") == "Ada"


@pytest.mark.parametrize(
    "blank", ["\u3164", "\uffa0 \u115f", "\u2800", "\ufe0f", "\u034f\u17b4", "\U0001d159", "\ufff0"]
)
def test_a_name_shows_something(blank: str) -> None:
    with pytest.raises(CallFailed) as caught:
        texts.name(blank)
    assert (caught.value.code, caught.value.field) == (400, "name")
    # one that another site gives is none; among what is seen they may be, as emoji and Hangul have them
    assert texts.name_of(blank) == ""
    assert texts.name("Ada \u2764\ufe0f") == texts.name_of("Ada \u2764\ufe0f") == "Ada \u2764\ufe0f"


def test_a_password_has_one_form_and_is_still_found_in_others() -> None:
    composed, decomposed = "schl\u00fcssel", "schlu\u0308ssel"
    assert texts.password(decomposed) == texts.password(composed) == composed
    assert texts.spellings(composed) == (composed, decomposed)
    assert texts.spellings(decomposed) == (composed, decomposed)
    assert texts.spellings("violin") == ("violin",)
    assert texts.password("\uff41 \u200b") == "\uff41 \u200b"  # anything may be in it
