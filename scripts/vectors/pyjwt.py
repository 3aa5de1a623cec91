"""Holds PyJWT against testdata/vectors.json, as somebody would use it who knows RFC 9068 and nothing of us."""

import datetime
import json
import pathlib
import sys
import unittest.mock

import jwt

HERE = pathlib.Path(__file__).resolve().parent
SKEW = 30  # seconds that an issuer's clock may be ahead
TYP = {"leaf": "at+jwt", "root": "kvr+jwt"}
REQUIRED = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]  # RFC 9068, section 2.2
# What a JWT library sees for itself. Of what fails for another reason, the JWT is good.
SEEN = {
    "malformed", "wrong_type", "alg_not_allowed", "unknown_key", "bad_signature", "expired", "not_yet_valid",
    "audience_mismatch",
}  # fmt: skip


def clock(now):
    """The library reads the clock; a test says what it shows."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(now, tz)

    return unittest.mock.patch("jwt.api_jwt.datetime", Clock)


def check(vector, issuer, keys):
    token, kind = vector["token"], vector["kind"]
    key = keys[jwt.get_unverified_header(token)["kid"]]
    with clock(vector["now"]):
        complete = jwt.decode_complete(
            token,
            key,
            algorithms=["EdDSA", "ES256"],
            issuer=issuer,
            audience=issuer if kind == "root" else vector["audience"],
            leeway=SKEW,
            options={"require": REQUIRED, "strict_aud": True},
        )
    if complete["header"].get("typ") != TYP[kind]:
        raise jwt.InvalidTokenError("another type")


def verdict(vector, issuer, keys):
    """`None` of a token that holds, else why not."""
    try:
        return check(vector, issuer, keys)
    except Exception as error:  # noqa: BLE001, whatever is raised, a server that asks has no claims to use
        return f"{type(error).__name__}: {error}"


def main():
    file = json.loads((HERE / "../../testdata/vectors.json").read_text())
    differences = json.loads((HERE / "differences.json").read_text())
    lax = {name for entry in differences if "PyJWT" in entry["libraries"] for name in entry["vectors"]}
    keys = jwt.PyJWKSet.from_dict(file["jwks"])
    passed, failures, stale = 0, [], set(lax)
    for members in file["vectors"]:
        vector = file["defaults"] | members
        if vector["kind"] not in TYP:
            continue
        name, refused = vector["name"], vector["expect"].get("code") in SEEN
        if refused:
            stale.discard(name)
        error = verdict(vector, file["issuer"], keys)
        if (error is None) == (not refused or name in lax):
            passed += 1
        elif error is None:
            failures.append(f"{name}: PyJWT accepts it, we do not")
        elif refused:
            failures.append(f"{name}: PyJWT refuses it now ({error}): take it off the list")
        else:
            failures.append(f"{name}: PyJWT refuses it: {error}")
    failures += [f"{name}: on the list of differences, but nothing that we refuse" for name in sorted(stale)]
    print(*failures, sep="\n", end="\n" if failures else "")
    word = "ok" if passed and not failures else "FAILED"
    print(f"test result: {word}. {passed} passed; {len(failures)} failed; 0 ignored")
    return word != "ok"


if __name__ == "__main__":
    sys.exit(main())
