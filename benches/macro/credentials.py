"""Keys and tokens that Cedargate and its rivals accept alike."""

import base64
import hashlib
import hmac
import json
import os
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

import world
from macro import policy
from world import coded

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
TOKENS = 10_000
LIFE = 6 * 3600


def ecdsa(key, message):
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def number(value, length=None):
    return coded(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


class Credentials:
    def __init__(self, folder, secret):
        self.folder, self.secret, self.made = folder, secret, 0
        self.keys = {
            "RS256": rsa.generate_private_key(65537, 2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }
        self.jwks = folder / "jwks.json"
        self.jwks.write_text(json.dumps({"keys": [self.jwk(algorithm) for algorithm in self.keys]}))
        for algorithm, key in self.keys.items():
            pem = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            (folder / f"{algorithm}.pem").write_bytes(pem)
        # What each user of Cedargate's own was given at sign-in.
        self.given, self.many = None, {}

    def jwk(self, algorithm):
        key = self.keys[algorithm].public_key()
        named = {"alg": algorithm, "kid": algorithm.lower(), "use": "sig"}
        if algorithm == "RS256":
            public = key.public_numbers()
            return {**named, "kty": "RSA", "n": number(public.n), "e": number(public.e)}
        if algorithm == "ES256":
            public = key.public_numbers()
            return {**named, "kty": "EC", "crv": "P-256", "x": number(public.x, 32), "y": number(public.y, 32)}
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {**named, "kty": "OKP", "crv": "Ed25519", "x": coded(raw)}

    def sign(self, algorithm, message):
        if algorithm == "HS256":
            return hmac.new(self.secret.encode(), message, hashlib.sha256).digest()
        key = self.keys[algorithm]
        if algorithm == "RS256":
            return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return ecdsa(key, message) if algorithm == "ES256" else key.sign(message)

    def token(self, algorithm, claims, **header):
        # Cedargate's own secret has no name.
        named = {} if algorithm == "HS256" else {"kid": algorithm.lower()}
        head = {"typ": "JWT", "alg": algorithm, **named, **header}
        parts = [coded(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims)]
        message = ".".join(parts)
        return f"{message}.{coded(self.sign(algorithm, message.encode()))}"

    def claims(self, algorithm, n, **other):
        """Cedargate's own users have what they were given at sign-in; those of the issuer are known by their claims."""
        now = int(time.time())
        if algorithm == "HS256":
            who = self.given[n % world.USERS]
        else:
            who = {"sub": f"bench{n}", "iat": now, "nbf": now - 5}
        rest = {
            "jti": f"{n:08x}-0000-7000-8000-{os.urandom(6).hex()}", "exp": now + LIFE, "iss": policy.issuer(algorithm),
            "aud": policy.AUDIENCE, "roles": policy.roles_of(n % world.USERS),
        }
        return {**who, **rest, **other}

    def mint(self, algorithm, count):
        return [self.token(algorithm, self.claims(algorithm, n)) for n in range(count)]

    def prepare(self, algorithms):
        """Mints what is used again and again."""
        for algorithm in algorithms:
            tokens = self.mint(algorithm, TOKENS)
            file = self.folder / f"{algorithm}.tokens"
            file.write_text("\n".join(tokens) + "\n")
            self.many[algorithm] = (file, tokens)

    def one(self, algorithm):
        return self.many[algorithm][1][0]

    def fresh(self, algorithm, count):
        """A file of tokens that nobody has seen."""
        self.made += 1
        file = self.folder / f"fresh{self.made}.tokens"
        file.write_text("\n".join(self.mint(algorithm, count)) + "\n")
        return file

    def refused(self, algorithm):
        """Tokens that nobody may accept, by what is wrong with them."""
        claims = self.claims(algorithm, 0)
        head, payload, signature = self.token(algorithm, claims).split(".")
        raw = bytearray(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
        raw[len(raw) // 2] ^= 1
        other = coded(json.dumps({**claims, "roles": ["user"]}).encode())
        unsigned = coded(json.dumps({"typ": "JWT", "alg": "none"}).encode())
        return {
            "forged signature": f"{head}.{payload}.{coded(bytes(raw))}",
            "forged claims": f"{head}.{other}.{signature}",
            "alg none": f"{unsigned}.{payload}.",
            "expired": self.token(algorithm, {**claims, "exp": int(time.time()) - 60}),
            "another iss": self.token(algorithm, {**claims, "iss": "https://id.elsewhere.example"}),
            "another aud": self.token(algorithm, {**claims, "aud": "elsewhere"}),
        }

    def stranger(self, algorithm):
        """A good token without a role that is granted anything. Roles of Cedargate's own users are rows, not claims."""
        return None if algorithm == "HS256" else self.token(algorithm, self.claims(algorithm, 0, roles=["nobody"]))
