"""Passkeys of other people's making against a real `kavach dev`: `passkeys.py BINARY`.

The authenticator and the browser before it are of Yubico's `fido2`, which knows nothing of us. Each registration and each use,
right or tampered with, is judged twice: by the server, and by Duo's `webauthn` as a relying party beside it. What the server
accepts the other accepts; where the server refuses more, it is said here.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from fido2 import cose
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData
from webauthn import verify_authentication_response, verify_registration_response

FLAG = AuthenticatorData.FLAG
GOOD = FLAG.UP | FLAG.UV
STARTS_WITHIN = 60  # seconds
REGISTER, USE = "/api/auth/passkey/register", "/api/auth/passkey/authenticate"


class Server:
    def __init__(self, binary, place):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        self.place, self.origin = place, f"http://localhost:{port}"
        self.call_at = f"http://127.0.0.1:{port}"
        self.log = open(place / "log", "wb")
        settings = {"KAVACH_ISSUER": self.origin, "KAVACH_LIMITS_SIGN_INS_PER_SOURCE": "10000"}
        command = [binary, "dev", "--listen", f"127.0.0.1:{port}", "--database", str(place / "kavach.db")]
        self.process = subprocess.Popen(
            command, cwd=place, env=os.environ | settings, stdout=self.log, stderr=self.log
        )

    def wait(self):
        until = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(self.call_at + "/healthz", timeout=5):
                self.operator = (self.place / "kavach.dev-key").read_text().strip()
                return
            time.sleep(0.1)
        raise SystemExit((self.place / "log").read_text())

    def post(self, path, body, credential=None):
        headers = {"Content-Type": "application/json"}
        if credential:
            headers["Authorization"] = f"Bearer {credential}"
        asked = urllib.request.Request(self.call_at + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, json.load(answer).get("data")
        except urllib.error.HTTPError as answer:
            return answer.code, json.load(answer).get("error")

    def human(self):
        status, user = self.post("/api/v1/users", {"name": "Ada"}, self.operator)
        assert status == 201, user
        status, session = self.post(f"/api/v1/users/{user['id']}/sessions", {}, self.operator)
        assert status == 201, session
        return session["token"]

    def end(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


class Es256:
    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.cose = cose.ES256.from_cryptography_key(self.private.public_key())

    def sign(self, message):
        return self.private.sign(message, ec.ECDSA(hashes.SHA256()))


class EdDsa:
    def __init__(self):
        self.private = ed25519.Ed25519PrivateKey.generate()
        self.cose = cose.EdDSA.from_cryptography_key(self.private.public_key())

    def sign(self, message):
        return self.private.sign(message)


class Rs256:
    def __init__(self):
        self.private = rsa.generate_private_key(65537, 2048)
        self.cose = cose.RS256.from_cryptography_key(self.private.public_key())

    def sign(self, message):
        return self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())


class Es384:
    """Not offered."""

    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP384R1())
        self.cose = cose.ES384.from_cryptography_key(self.private.public_key())

    def sign(self, message):
        return self.private.sign(message, ec.ECDSA(hashes.SHA384()))


@dataclasses.dataclass
class How:
    """How a ceremony is held; as an honest browser holds it unless said."""

    origin: str | None = None
    site: str = "localhost"
    flags: FLAG = GOOD
    kind: str | None = None
    challenge: str | None = None
    cross_origin: bool = False
    said: dict = dataclasses.field(default_factory=dict)
    extensions: dict | None = None
    self_attested: bool = False
    counter: int | None = None
    # How far from what the server knows the counter is.
    step: int | None = None
    # What becomes of a signature, and of what is sent.
    signed: object = lambda signature: signature
    sent: object = lambda sent: None


class Authenticator:
    def __init__(self, origin, key, id_length=32):
        self.origin, self.key = origin, key
        self.id = os.urandom(id_length)
        self.counter, self.user = 5, None

    def client_data(self, kind, options, how):
        challenge = how.challenge or options["challenge"]
        origin = how.origin or self.origin
        return CollectedClientData.create(how.kind or kind, challenge, origin, how.cross_origin, **how.said)

    def data(self, how, credential=b""):
        flags = how.flags | (FLAG.AT if credential else 0) | (FLAG.ED if how.extensions else 0)
        counter = self.counter if how.counter is None else how.counter
        site = hashlib.sha256(how.site.encode()).digest()
        return AuthenticatorData.create(site, flags, counter, credential, how.extensions)

    def wrapped(self, response, how):
        name = websafe_encode(self.id)
        sent = {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}
        how.sent(sent)
        return sent

    def create(self, options, how):
        self.user = options["user"]["id"]
        said = self.client_data("webauthn.create", options, how)
        data = self.data(how, AttestedCredentialData.create(bytes(16), self.id, self.key.cose))
        form, statement = "none", {}
        if how.self_attested:
            form, statement = "packed", {"alg": self.key.cose[3], "sig": self.key.sign(data + said.hash)}
        made = AttestationObject.create(form, data, statement)
        response = {"clientDataJSON": said.b64, "attestationObject": websafe_encode(made), "transports": ["internal"]}
        return self.wrapped(response, how)

    def get(self, options, how):
        self.counter += 1
        said = self.client_data("webauthn.get", options, how)
        data = self.data(how)
        signature = how.signed(self.key.sign(data + said.hash))
        response = {
            "clientDataJSON": said.b64,
            "authenticatorData": websafe_encode(data),
            "signature": websafe_encode(signature),
            "userHandle": self.user,
        }
        return self.wrapped(response, how)


def judged(verify, **rules):
    """What the other relying party makes of it; `None` where it refuses."""
    try:
        return verify(require_user_verification=True, expected_rp_id="localhost", **rules)
    except Exception:  # noqa: BLE001, whatever is raised, it is not accepted
        return None


def register(server, session, authenticator, how, challenge=None):
    """What the server answers and what the other one makes of a registration."""
    status, options = server.post(f"{REGISTER}/options", {}, session)
    assert status == 200, options
    options["challenge"] = challenge or options["challenge"]
    made = authenticator.create(options, how)
    theirs = judged(
        verify_registration_response,
        credential=made,
        expected_challenge=websafe_decode(options["challenge"]),
        expected_origin=server.origin,
    )
    status, answer = server.post(f"{REGISTER}/verify", {"credential": made}, session)
    return status, answer, theirs


def use(server, authenticator, how, known, challenge=None):
    """The same of a use, by a credential that the other one knows, which counts as the server does."""
    status, options = server.post(f"{USE}/options", {})
    assert status == 200, options
    options["challenge"] = challenge or options["challenge"]
    answered = authenticator.get(options, how)
    theirs = judged(
        verify_authentication_response,
        credential=answered,
        expected_challenge=websafe_decode(options["challenge"]),
        expected_origin=server.origin,
        credential_public_key=known["key"],
        credential_current_sign_count=known["counter"],
    )
    status, answer = server.post(f"{USE}/verify", {"credential": answered})
    if status == 200 and theirs:
        known["counter"] = theirs.new_sign_count
    return status, answer, theirs, options["challenge"]


def registered(server, authenticator, how=None):
    """A credential that both know."""
    status, answer, theirs = register(server, server.human(), authenticator, how or How())
    assert status == 201, f"the server answers {status}: {answer}"
    assert theirs, "the other relying party refuses it"
    assert theirs.credential_id == authenticator.id
    return {"key": theirs.credential_public_key, "counter": theirs.sign_count}


def accepted(server, authenticator, known, how=None):
    status, answer, theirs, challenge = use(server, authenticator, how or How(), known)
    assert status == 200 and answer["token"], f"the server answers {status}: {answer}"
    assert theirs, "the other relying party refuses it"
    return challenge


def right(server):
    """What an honest authenticator makes is accepted, by both."""
    copied = GOOD | FLAG.BE | FLAG.BS
    odd = {"other_keys_can_be_added_here": "do not compare clientDataJSON against a template"}
    for name, key, length, how in [
        ("ES256", Es256, 32, How()),
        ("EdDSA", EdDsa, 32, How()),
        ("RS256", Rs256, 32, How()),
        ("attested by itself", Es256, 32, How(self_attested=True)),
        ("with extensions", Es256, 32, How(extensions={"credProtect": 2})),
        ("more members in the client data", EdDsa, 32, How(said=odd)),
        ("the shortest id", Es256, 1, How()),
        ("the longest id", Es256, 1023, How()),
        ("copied to other devices", Es256, 32, How(flags=copied)),
        ("without a counter", EdDsa, 32, How(counter=0)),
    ]:
        def run(key=key, length=length, how=how):
            authenticator = Authenticator(server.origin, key(), length)
            known = registered(server, authenticator, how)
            again = dataclasses.replace(how, self_attested=False)
            for _ in range(3):
                accepted(server, authenticator, known, again)

        yield f"right: {name}", run


# What is changed, what the server answers, and whether the other one, which looks at less, accepts it.
WRONG_REGISTRATIONS = [
    ("another origin", How(origin="http://evil.localhost:1"), 403, False),
    ("an origin that begins the same", How(origin="{here}.evil.example"), 403, False),
    ("another port", How(origin="http://localhost:1"), 403, False),
    ("over TLS", How(origin="https://localhost"), 403, False),
    ("another site", How(site="evil.example"), 403, False),
    ("nobody verified", How(flags=FLAG.UP), 403, False),
    ("nobody there", How(flags=FLAG.UV), 403, False),
    ("of a use", How(kind="webauthn.get"), 403, False),
    ("in a frame", How(cross_origin=True), 403, True),
    ("in a frame, by its name", How(said={"topOrigin": "https://evil.example"}), 403, True),
    ("a copy of what cannot be copied", How(flags=GOOD | FLAG.BS), 400, False),
    ("an answer to a made up challenge", How(challenge="A" * 43), 409, False),
    ("another raw id", How(sent=lambda sent: sent.update(id="AAAA", rawId="AAAA")), 400, True),
    ("another type", How(sent=lambda sent: sent.update(type="password")), 400, False),
    ("cut off", How(sent=lambda sent: cut(sent, "attestationObject")), 400, False),
    ("no JSON", How(sent=lambda sent: sent["response"].update(clientDataJSON="AAAA")), 400, False),
]
WRONG_USES = [
    ("another origin", How(origin="http://evil.localhost:1"), 401, False),
    ("an origin that begins the same", How(origin="{here}.evil.example"), 401, False),
    ("another port", How(origin="http://localhost:1"), 401, False),
    ("over TLS", How(origin="https://localhost"), 401, False),
    ("another site", How(site="evil.example"), 401, False),
    ("nobody verified", How(flags=FLAG.UP), 401, False),
    ("nobody there", How(flags=FLAG.UV), 401, False),
    ("of a registration", How(kind="webauthn.create"), 401, False),
    ("in a frame", How(cross_origin=True), 401, True),
    ("in a frame, by its name", How(said={"topOrigin": "https://evil.example"}), 401, True),
    ("an answer to a made up challenge", How(challenge="A" * 43), 401, False),
    ("may be copied since", How(flags=GOOD | FLAG.BE), 401, True),
    ("a counter that stands", How(step=0), 401, False),
    ("a counter that goes back", How(step=-1), 401, False),
    ("a counter that is none any more", How(counter=0), 401, False),
    ("one bit of the signature", How(signed=lambda text: text[:-1] + bytes([text[-1] ^ 1])), 401, False),
    ("more behind the signature", How(signed=lambda text: text + b"\0"), 401, False),
    ("no signature", How(signed=lambda text: b""), 401, False),
    ("data that was not signed", How(sent=lambda sent: flipped(sent, "authenticatorData")), 401, False),
    ("a counter that was not signed", How(sent=lambda sent: flipped(sent, "authenticatorData", -1)), 401, False),
    ("client data that was not signed", How(sent=lambda sent: padded(sent)), 401, False),
    ("data that is cut off", How(sent=lambda sent: cut(sent, "authenticatorData")), 401, False),
    ("another human's name", How(sent=lambda sent: sent["response"].update(userHandle="dXNlcl8w")), 401, True),
    ("nobody's name", How(sent=lambda sent: sent["response"].pop("userHandle")), 401, True),
    ("an unknown id", How(sent=lambda sent: sent.update(id="AAAA", rawId="AAAA")), 401, True),
]


def cut(sent, member):
    sent["response"][member] = websafe_encode(websafe_decode(sent["response"][member])[:-1])


def flipped(sent, member, at=0):
    data = bytearray(websafe_decode(sent["response"][member]))
    data[at] ^= 0x40
    sent["response"][member] = websafe_encode(bytes(data))


def padded(sent):
    said = websafe_decode(sent["response"]["clientDataJSON"])
    sent["response"]["clientDataJSON"] = websafe_encode(said[:-1] + b" }")


def here(how, server):
    return dataclasses.replace(how, origin=how.origin and how.origin.replace("{here}", server.origin))


def wrong_registrations(server):
    session = server.human()
    for name, how, expected, by_other in WRONG_REGISTRATIONS:
        def run(how=how, expected=expected, by_other=by_other):
            authenticator = Authenticator(server.origin, Es256())
            status, answer, theirs = register(server, session, authenticator, here(how, server))
            assert status == expected, f"the server answers {status}: {answer}"
            assert (theirs is not None) == by_other, f"the other relying party says {theirs}"
            # The twin: the same key, rightly.
            registered(server, authenticator)

        yield f"registration refused: {name}", run


def wrong_uses(server):
    for key in (Es256, EdDsa, Rs256):
        authenticator = Authenticator(server.origin, key())
        known = {}
        for name, how, expected, by_other in WRONG_USES:
            def run(authenticator=authenticator, known=known, how=how, expected=expected, by_other=by_other):
                if not known:
                    known.update(registered(server, authenticator))
                how = here(how, server)
                if how.step is not None:
                    how = dataclasses.replace(how, counter=known["counter"] + how.step)
                status, answer, theirs, _ = use(server, authenticator, how, known)
                assert status == expected, f"the server answers {status}: {answer}"
                assert (theirs is not None) == by_other, f"the other relying party says {theirs}"
                # The twin: the same key, rightly.
                accepted(server, authenticator, known)

            yield f"use refused: {key.__name__}, {name}", run


def others(server):
    """What takes more than one try to do wrong."""

    def replayed():
        authenticator = Authenticator(server.origin, Es256())
        known = registered(server, authenticator)
        old = accepted(server, authenticator, known)
        status, answer, theirs, _ = use(server, authenticator, How(), known, challenge=old)
        # The other one is told that this challenge is open, which only the server knows not to be so.
        assert status == 401 and theirs, f"the server answers {status}: {answer}"

    def replayed_registration():
        session, authenticator = server.human(), Authenticator(server.origin, Es256())
        status, options = server.post(f"{REGISTER}/options", {}, session)
        assert status == 200
        made = {"credential": authenticator.create(options, How())}
        first, _ = server.post(f"{REGISTER}/verify", made, session)
        again, answer = server.post(f"{REGISTER}/verify", made, session)
        assert (first, again) == (201, 409), answer
        # For another human it is not open, and the credential is somebody's.
        status, answer, _ = register(server, server.human(), authenticator, How())
        assert status == 409, f"the server answers {status}: {answer}"

    def another_key():
        authenticator = Authenticator(server.origin, Es256())
        known = registered(server, authenticator)
        for key in (Es256, EdDsa, Rs256):
            thief = Authenticator(server.origin, key())
            thief.id, thief.user, thief.counter = authenticator.id, authenticator.user, 100
            status, answer, theirs, _ = use(server, thief, How(), known)
            assert status == 401 and not theirs, f"the server answers {status}: {answer}"
        accepted(server, authenticator, known)

    def another_algorithm():
        authenticator = Authenticator(server.origin, Es384())
        status, answer, _ = register(server, server.human(), authenticator, How())
        assert status == 400, f"the server answers {status}: {answer}"

    yield "use refused: a challenge that was answered", replayed
    yield "registration refused: a challenge that was answered", replayed_registration
    yield "use refused: another key under the same id", another_key
    yield "registration refused: an algorithm that was not offered", another_algorithm


def main():
    passed, failures = 0, []
    with tempfile.TemporaryDirectory() as place:
        server = Server(sys.argv[1], pathlib.Path(place))
        try:
            server.wait()
            for part in (right, wrong_registrations, wrong_uses, others):
                for name, run in part(server):
                    try:
                        run()
                        passed += 1
                    except AssertionError as error:
                        failures.append(f"{name}: {error}")
            if b"panicked" in (server.place / "log").read_bytes():
                failures.append("the server panicked")
        finally:
            server.end()
    print(*failures, sep="\n", end="\n" if failures else "")
    word = "ok" if passed and not failures else "FAILED"
    print(f"test result: {word}. {passed} passed; {len(failures)} failed; 0 ignored")
    return word != "ok"


if __name__ == "__main__":
    sys.exit(main())
