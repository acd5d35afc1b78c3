"""Web push: the bytes of the standard's own example, another implementation that opens ours, and who vouches."""

from __future__ import annotations

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gorgond.notifiers.webpush import PLAIN_MAX, RECORD, Voucher, encrypted, new_private_key, packed, unpacked

# RFC 8291, 5 and appendix A
SAID = b"When I grow up, I want to be a watermelon"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
BROWSER = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
SECRET = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
SENT = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
    "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
ENDPOINT = "https://push.example.net:8443/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV"


def test_the_example_of_the_standard_is_the_same_to_the_byte() -> None:
    key = ec.derive_private_key(int.from_bytes(unpacked(SENDER), "big"), ec.SECP256R1())
    assert packed(encrypted(SAID, BROWSER, SECRET, key, unpacked(SALT))) == SENT


@pytest.mark.parametrize("size", [0, 1, 100, PLAIN_MAX])
def test_another_implementation_reads_what_we_encrypt(size: int) -> None:
    # given a browser with keys of its own
    browser = ec.generate_private_key(ec.SECP256R1())
    public = packed(browser.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    said = bytes(number % 251 for number in range(size))
    # when the same is said to it twice
    bodies = [encrypted(said, public, SECRET) for _ in range(2)]
    # then it reads it, nothing of it is the same, and each push service takes it
    for body in bodies:
        assert http_ece.decrypt(body, private_key=browser, auth_secret=unpacked(SECRET)) == said
        assert len(body) <= RECORD
    assert bodies[0][:16] != bodies[1][:16]
    assert bodies[0][21:86] != bodies[1][21:86]


def test_what_cannot_be_encrypted_is_said() -> None:
    with pytest.raises(ValueError, match=f"{PLAIN_MAX + 1} bytes are more"):
        encrypted(bytes(PLAIN_MAX + 1), BROWSER, SECRET)
    for browser in ("", "AAAA", packed(b"\4" + bytes(64)), "é"):
        with pytest.raises(ValueError, match=r"."):
            encrypted(SAID, browser, SECRET)


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def claims(header: str, public: str) -> dict[str, object]:
    """What was signed, by this public key."""
    scheme, _, rest = header.partition(" ")
    token, key = (part.strip().partition("=")[2] for part in rest.split(","))
    assert (scheme, key) == ("vapid", public)
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unpacked(public))
    found: dict[str, object] = jwt.decode(token, point, ["ES256"], options={"verify_aud": False, "verify_exp": False})
    return found


def test_we_vouch_for_one_push_service_for_less_than_a_day() -> None:
    clock = Clock()
    voucher = Voucher(new_private_key(), "mailto:ops@example.org", clock)
    header = voucher.header(ENDPOINT)
    assert claims(header, voucher.public) == {
        "aud": "https://push.example.net:8443", "exp": 1_700_000_000 + 12 * 3600, "sub": "mailto:ops@example.org",
    }  # fmt: skip
    # it is the same for a while, and another one for another push service, and later, and when the clock was put back
    clock.now += 3000
    assert voucher.header(f"{ENDPOINT}x") == header
    assert claims(voucher.header("https://other.example/1"), voucher.public)["aud"] == "https://other.example"
    clock.now += 700
    assert claims(voucher.header(ENDPOINT), voucher.public)["exp"] == 1_700_003_700 + 12 * 3600
    clock.now -= 86400
    assert claims(voucher.header(ENDPOINT), voucher.public)["exp"] == 1_699_917_300 + 12 * 3600


def test_a_key_is_kept_as_text() -> None:
    private = new_private_key()
    assert len(unpacked(private)) == 32
    assert Voucher(private, "").public == Voucher(private, "").public
    assert len(unpacked(Voucher(private, "").public)) == 65
    assert Voucher(new_private_key(), "").public != Voucher(private, "").public
