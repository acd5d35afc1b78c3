"""Web push: what a browser's push service is handed, which only that browser can read, and who vouches for it.

    the body        encrypted for the browser that subscribed (RFC 8291), in the coding aes128gcm (RFC 8188)
    Authorization   says that who sends is who the browser has subscribed to, by a key that it was told then: VAPID
                    (RFC 8292)

Keys are base64url without padding, as browsers give them.
"""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RECORD = 4096  # bytes of a body: those that each push service takes (RFC 8030, 7.2)
PLAIN_MAX = RECORD - (16 + 4 + 1 + 65) - 16 - 1  # beside it: salt, sizes, our key; a tag, and the mark of its end
LAST = b"\x02"  # ends the last record, which is the only one
VALID = 12 * 3600  # seconds for which we vouch: 24 h are the most, and clocks differ
AGAIN = 3600.0  # seconds after which it is signed anew
SERVICES = 100  # push services of which we keep what was signed

_CURVE = ec.SECP256R1()


def encrypted(
    plain: bytes, browser: str, secret: str, ours: ec.EllipticCurvePrivateKey | None = None, salt: bytes = b""
) -> bytes:
    """The body for the browser that has this public key, and this secret; our key and the salt are new ones unless they
    are given. Raises ValueError for a key or secret that is none, and for more than PLAIN_MAX bytes."""
    if len(plain) > PLAIN_MAX:
        raise ValueError(f"{len(plain)} bytes are more than the {PLAIN_MAX} that push services take")
    ours, salt = ours or ec.generate_private_key(_CURVE), salt or os.urandom(16)
    theirs, mine = unpacked(browser), _point(ours)
    shared = ours.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, theirs))
    material = _derived(unpacked(secret), shared, b"WebPush: info\0" + theirs + mine, 32)
    key = _derived(salt, material, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(salt, material, b"Content-Encoding: nonce\0", 12)
    head = salt + RECORD.to_bytes(4, "big") + bytes([len(mine)]) + mine
    return head + AESGCM(key).encrypt(nonce, plain + LAST, None)


class Voucher:
    """Vouches for what we send, with a private key; `contact` is whom a push service may turn to, an address that
    begins with mailto: or https:."""

    def __init__(self, private: str, contact: str, clock: Callable[[], float] = time.time) -> None:
        self._key = ec.derive_private_key(int.from_bytes(unpacked(private), "big"), _CURVE)
        self.public = packed(_point(self._key))
        """The public key: what browsers are told as they subscribe."""
        self._contact = contact
        self._clock = clock
        self._signed: dict[str, tuple[float, str]] = {}  # by push service: until when it is used, and what it is

    def header(self, endpoint: str) -> str:
        """The Authorization for what goes to this address of a push service."""
        parts = urlsplit(endpoint)
        service, now = f"{parts.scheme}://{parts.netloc}", self._clock()
        until, header = self._signed.get(service, (0.0, ""))
        if not 0 < until - now <= AGAIN:
            claims = {"aud": service, "exp": int(now) + VALID, "sub": self._contact}
            header = f"vapid t={jwt.encode(claims, self._key, 'ES256')}, k={self.public}"
            if len(self._signed) >= SERVICES:  # users name them
                self._signed.clear()
            self._signed[service] = (now + AGAIN, header)
        return header


def new_private_key() -> str:
    """A private key for a Voucher."""
    number = ec.generate_private_key(_CURVE).private_numbers().private_value
    return packed(number.to_bytes(32, "big"))


def packed(raw: bytes) -> str:
    """Bytes in base64url."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def unpacked(text: str) -> bytes:
    """The bytes in a base64url. Raises ValueError."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _derived(salt: bytes, material: bytes, info: bytes, size: int) -> bytes:
    return HKDF(SHA256(), size, salt, info).derive(material)
