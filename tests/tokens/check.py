"""Tokens as other libraries see them: PyJWT and jose verify ours by what we publish, and we verify theirs.

Arguments: the gateway's address, the algorithm, a token of ours, and what signs: a private key's file, or the secret.
"""

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import jwt

HERE = Path(__file__).parent
ISSUER = AUDIENCE = "cedargate"


def answer(gateway, token):
    request = urllib.request.Request(f"{gateway}/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def node(work):
    """jose, with the packages of the lock file in a folder of their own."""
    folder = Path(sys.prefix).parent / "tokens-node"
    lock = (HERE / "package-lock.json").read_bytes()
    installed = folder / "installed.json"
    if not installed.exists() or installed.read_bytes() != lock:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=folder, check=True, timeout=300)
        installed.write_bytes(lock)
    shutil.copy(HERE / "jose.mjs", folder)
    done = subprocess.run(
        ["node", "jose.mjs"], cwd=folder, input=json.dumps(work), capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        sys.exit(f"jose.mjs: {done.stderr}")
    return json.loads(done.stdout)


def signed_by_pyjwt(algorithm, key, kid, claims):
    """Tokens by name; those whose name begins with `good` are to be accepted."""
    header = {"kid": kid, "typ": "at+jwt"} if kid else {}
    without = lambda name: {each: value for each, value in claims.items() if each != name}
    sign = lambda claims, headers: jwt.encode(claims, key, algorithm, headers)
    now = int(time.time())
    tokens = {
        "good": sign(claims, header),
        "good: several audiences": sign({**claims, "aud": ["other", AUDIENCE]}, header),
        "expired": sign({**claims, "exp": now - 100}, header),
        "not yet": sign({**claims, "nbf": now + 100}, header),
        "without exp": sign(without("exp"), header),
        "another audience": sign({**claims, "aud": "other"}, header),
        "another issuer": sign({**claims, "iss": "other"}, header),
        "a refresh token": sign({**claims, "type": "refresh"}, header),
        "an unknown kid": sign(claims, {**header, "kid": "unknown"}),
        "crit": sign(claims, {**header, "crit": ["exp"]}),
        "none": jwt.encode(claims, None, "none", header),
    }
    if kid:
        tokens |= {
            "without kid": sign(claims, {"typ": "at+jwt"}),
            "typ JWT": sign(claims, {"kid": kid}),
            "without iss": sign(without("iss"), header),
            "without aud": sign(without("aud"), header),
            "HS256 with the kid": jwt.encode(claims, "secret" * 8, "HS256", header),
        }
    return tokens


def main():
    gateway, algorithm, ours, place = sys.argv[1:]
    claims = {"sub": "testuser", "iss": ISSUER, "aud": AUDIENCE, "type": "access", "exp": int(time.time()) + 600}
    jwks = f"{gateway}/.well-known/jwks.json"
    if algorithm == "HS256":
        # Whoever has the secret needs no published key.
        key, kid, pem = place, None, None
        verified = jwt.decode(ours, key, [algorithm], options={"require": ["exp", "sub", "jti"]})
    else:
        pem = Path(place).read_text()
        client = jwt.PyJWKClient(jwks, timeout=10)
        found = client.get_signing_key_from_jwt(ours)
        assert found.public_key_use == "sig" and found.algorithm_name == algorithm, found
        key, kid = pem, found.key_id
        options = {"require": ["exp", "sub", "iss", "aud", "jti"]}
        verified = jwt.decode(ours, found.key, [algorithm], options, audience=AUDIENCE, issuer=ISSUER)
    assert verified["sub"] == "testuser", verified

    work = {"jwks": jwks, "algorithm": algorithm, "token": ours, "pem": pem, "secret": place, "kid": kid, "claims": claims}
    by_jose = node(work)
    assert by_jose["verified"]["sub"] == "testuser", by_jose
    wrong = []
    for library, tokens in (("PyJWT", signed_by_pyjwt(algorithm, key, kid, claims)), ("jose", by_jose["tokens"])):
        for name, token in tokens.items():
            expected, status = 200 if name.startswith("good") else 401, answer(gateway, token)
            if status != expected:
                wrong.append(f"{library}, {name}: {status} instead of {expected}")
        print(f"{algorithm}: {len(tokens)} tokens of {library}")
    if wrong:
        sys.exit("\n".join(wrong))


main()
