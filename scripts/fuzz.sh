#!/usr/bin/env bash
# Fuzzes every decoder of bytes from outside, so many seconds each: `scripts/fuzz.sh [short|long|SECONDS] [TARGET...]`.
# The last line counts as tests do: one for each target.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-short} in
  short) readonly SECONDS_EACH=3 ;;
  long) readonly SECONDS_EACH=60 ;;
  [1-9]*) readonly SECONDS_EACH=$1 ;;
  *) echo "say \`short\`, \`long\` or a number of seconds" >&2; exit 2 ;;
esac
if [ $# -gt 1 ]; then targets=("${@:2}"); else targets=(leaf root proof jwks jwk head feed_keys poll snapshot pushed json id_token assertion passkey typed cookies form oauth_form client client_assertion redirect); fi
readonly LONGEST_INPUT=8192 SLOWEST_INPUT=10 MEBIBYTES=2048

# What guides libFuzzer. With a target named, build scripts and macros are built without it.
coverage=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing)
host=$(rustc -vV | sed -n 's/^host: //p')
target=$(realpath -m "${CARGO_TARGET_DIR:-fuzz/target}")
RUSTFLAGS="${coverage[*]}" cargo build --manifest-path fuzz/Cargo.toml --release --locked --target "$host" \
  --target-dir "$target/fuzz-build"

# The first inputs: what the vectors hold, whole and as claims; of revocations some that hold, and some a change away.
python3 - "$target/fuzz" <<'PYTHON'
import base64, hashlib, json, pathlib, sys
place = pathlib.Path(sys.argv[1])
file = json.load(open("testdata/vectors.json"))
def keep(target, number, data):
    (place / target).mkdir(parents=True, exist_ok=True)
    (place / target / f"vector-{number}").write_bytes(data)
def claims(token):
    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
for number, vector in enumerate(file["vectors"]):
    for target, text in ((vector["kind"], vector.get("token")), ("proof", vector.get("proof"))):
        if target in ("leaf", "root", "proof") and text:
            keep(target, number, b"t" + text.encode())
            try:
                keep(target, f"{number}-claims", b"c" + claims(text))
            except (IndexError, ValueError):
                pass  # a vector that is no token
def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
def written(kills):
    return b"".join(bytes([kind]) + bytes([byte]) * 16 + generation.to_bytes(8, "big") for kind, byte, generation in kills)
def log(kills):
    sums = [bytes(32)]
    for number, kill in enumerate(kills, 1):
        sums.append(hashlib.sha256(sums[-1] + number.to_bytes(8, "big") + written([kill])).digest())
    return sums[-1]
def head(kills, **more):
    claims = {"iss": "https://auth.example.com", "epoch": 1, "rseq": len(kills), "rhash": text(log(kills)),
              "time": 1_795_255_200_000_000, "leaseMax": 10, "nonce": "n", "follower": "tools"}
    return json.dumps(claims | more)
def mark(kind, byte, generation):
    return {"kind": kind, "handle": text(bytes([byte]) * 16), "generation": generation}
for number, kills in enumerate(([], [(5, 1, 2)], [(1, 1, 2), (4, 2, 3), (1, 1, 4)])):
    digest = hashlib.sha256(b"kavachos revocation set 1\n" + written(sorted(kills))).digest()
    records = [{"rseq": place, **mark(*kill)} for place, kill in enumerate(kills, 1)]
    keep("head", number, b"c" + head(kills).encode())
    keep("head", f"{number}-set", b"c" + head(kills, set=text(digest)).encode())
    for name, more in (("", {}), ("-epoch", {"epoch": 2}), ("-nonce", {"nonce": "m"}), ("-hash", {"rhash": "A" * 43})):
        answer = {"head": head(kills, **more), "records": records, "more": False}
        keep("poll", f"{number}{name}", json.dumps(answer).encode())
    answer = {"head": head(kills, set=text(digest)), "records": [mark(*kill) for kill in sorted(kills)]}
    keep("snapshot", number, json.dumps(answer).encode())
    keep("pushed", number, b"\n".join(json.dumps(record).encode() for record in records))
    keep("json", number, json.dumps(answer).encode())
told = {"iss": "https://auth.example.com", "aud": "https://tools.example.com", "sub": "user_01j0000000e008000000000000",
        "agent": "agent_01j0000000e008000000000001", "chain": ["agent_01j0000000e008000000000002"], "htm": "GET",
        "host": "tools.example.com", "uh": text(hashlib.sha256(b"/a?b=c").digest()),
        "audit": "audit_01j0000000e008000000000003", "iat": 1795255190, "exp": 1795255220}
keep("assertion", 0, b"c" + json.dumps(told).encode())
keep("json", "numbers", b'{"a":[1,-1.5e3,1e-7,9007199254740992,true,null,"\\ud834\\udd1e"]}')
keep("jwks", 0, json.dumps(file["jwks"]).encode())
said = {"iss": "https://a.example", "sub": "u", "aud": ["app"], "azp": "app", "iat": 1795255190, "exp": 1795255260,
        "nbf": 1795255180, "auth_time": 1795255100}
keep("id_token", 0, json.dumps(said).encode())
keep("id_token", 1, json.dumps(file["jwks"]).encode())
for number, byte in enumerate((7, 8)):
    # RFC 8037, and any other point.
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" if byte == 7 else file["jwks"]["keys"][0].get("x", "")
    asked = {"iss": "https://auth.example.com", "epoch": byte, "keys": [{"crv": "Ed25519", "kty": "OKP", "x": x}]}
    keep("feed_keys", number, b"c" + json.dumps(asked | {"iat": 1795255200}).encode())
    keep("feed_keys", f"{number}-request", b"r" + json.dumps(asked).encode())
for number, key in enumerate(file["jwks"]["keys"]):
    keep("jwk", number, json.dumps(key).encode())

# Of passkeys what the standard gives (Web Authentication, section 16); of what people type and browsers send, some that is
# right, and some a change away.
for vector in json.load(open("crates/kavachos-auth/src/passkey/webauthn/vectors.json")):
    name, made, used = vector["name"], vector["registration"], vector["authentication"]
    said, attestation = bytes.fromhex(made["clientData"]), bytes.fromhex(made["attestation"])
    data = bytes.fromhex(used["authenticatorData"])
    keep("passkey", name, said + b"\xff" + attestation)
    keep("passkey", f"{name}-bare", b"\xff" + attestation)
    keep("passkey", f"{name}-used", bytes.fromhex(used["clientData"]) + b"\xff" + data)
    at = attestation.find(data[:32])
    keep("passkey", f"{name}-data", b"\xff" + attestation[at:])
    length = int.from_bytes(attestation[at + 53:at + 55], "big")
    keep("passkey", f"{name}-key", b"\xff" + attestation[at + 55 + length:])
    response = {"clientDataJSON": text(said), "attestationObject": text(attestation), "transports": ["internal", "usb"]}
    keep("passkey", f"{name}-json", json.dumps({"rawId": "AQID", "type": "public-key", "response": response}).encode())
typed = ["ada@example.com", "Ada.Lovelace+tag@XN--bcher-kva.example", "Ada <ada@example.com>", "ada@[127.0.0.1]", "ada.k",
         "\uff21\uff24\uff21", "adm1n", "a.b_c-d", "\u212aelvin", "\ufdfa", "\u00c5ngstr\u00f6m", "A\u030angstro\u0308m",
         "a\u00a0b\u3000c", "WDJB-MJHT", "wdjb mjht", "254676", "254676 ", "2546760", "0123-4567-89ab", "O123 4567 89AB", "\u1e9b\u0323", "\u0130da"]
for number, one in enumerate(typed):
    keep("typed", number, one.encode())
sent = ["__Host-kavach_session=kv_sess_x", "a=1; __Host-kavach_session=kv_sess_x; b", "__Host-a=1; __Host-b=2=3; __Host-c",
        "__Host-kavach_session=a; __Host-kavach_session=b", "__Host-kavach_session=a\na=1", "; ".join(["a=1"] * 70),
        "__Host-kavach_device=kv_dev_x", "__host-kavach_session=a;\t__Host-kavach_form=b"]
for number, one in enumerate(sent):
    keep("cookies", number, one.encode())
forms = ["email=ada%40example.com&password=a+b%20c", "a=1&a=2", "a&b=&=c", "%ff=%&x=%zz", "return_to=%2Faccount%2Fagents", "&&",
         "/account/activity?since=2026-11-21", "//evil.example", "/\\evil.example", "&".join(f"f{n}" for n in range(129))]
for number, one in enumerate(forms):
    keep("form", number, one.encode())

# Of what strangers send to the authorization server, what real clients send, and some a change away.
asked = ["grant_type=authorization_code&code=kv_code_a&redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Fcb&code_verifier=" + "a" * 43,
         "resource=a&resource=b&audience=c&audience=d", "client_id=a&client_id=", "scope=a&scope=a", "state=%C3%A9+%2B&x=%",
         "&".join(f"p{n}=1" for n in range(65)), "Basic Y2xpZW50X2E6YSUyQmI=", "Bearer kv_op_a",
         "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"]
for number, one in enumerate(asked):
    keep("oauth_form", number, one.encode())
itself = {"client_name": "MCP Client", "redirect_uris": ["http://127.0.0.1:8080/cb", "https://app.example.com/cb", "cursor://a/cb"],
          "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "scope": "a b",
          "token_endpoint_auth_method": "none", "application_type": "native", "client_uri": "https://app.example.com/"}
key = {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
signing = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key, key | {"kid": "b", "use": "sig"}]},
           "token_endpoint_auth_signing_alg": "EdDSA", "dpop_bound_access_tokens": True,
           "require_pushed_authorization_requests": True}
more = [{}, signing, {"client_id": "https://app.example.com/client.json"}, {"redirect_uris": ["javascript:alert(1)"]},
        {"redirect_uris": ["https://app.example.com/cb"], "application_type": "web"}, {"client_name": " a\u202eb "},
        {"grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:device_code"],
         "token_endpoint_auth_method": "client_secret_post"}, {"jwks": {"keys": [key | {"d": "AQAB"}]}} | {"client_secret": "a"}]
for number, one in enumerate(more):
    keep("client", number, json.dumps(itself | one).encode())
signed = {"iss": "client_01h455vb4pex5vsknk084sn02q", "sub": "client_01h455vb4pex5vsknk084sn02q", "jti": "a",
          "aud": "https://auth.example.com", "iat": 1795255190, "nbf": 1795255190, "exp": 1795255260}
for number, one in enumerate(({}, {"aud": ["https://auth.example.com"]}, {"exp": 1795256200}, {"iat": None})):
    keep("client_assertion", number, b"c" + json.dumps(signed | one).encode())
keep("client_assertion", "mutated", b"m" + bytes([0, 1, 1, 0, 200, 32]))
keep("client_assertion", "whole", b"m")
places = ["https://app.example.com/cb", "https://app.example.com:443/cb?a=b", "http://127.0.0.1/cb\nhttp://127.0.0.1:51004/cb",
          "http://localhost:1/cb\nhttp://localhost:2/cb", "http://[::1]:1/cb\nhttp://[0:0::1]/cb", "com.example.app:/cb",
          "cursor://anysphere.cursor-mcp/oauth/callback", "https://127.1/cb", "https://0x7f.1/c", "javascript://a/%0aalert(1)",
          "https://a@app.example.com/cb#", "https://app.example.com/a/%2e%2E/cb", "https://xn--bcher-kva.example/cb?",
          "client_01h455vb4pex5vsknk084sn02q", "https://app.example.com/client.json\na b&c=d#"]
for number, one in enumerate(places):
    keep("redirect", number, one.encode())
PYTHON

failed=0
for name in "${targets[@]}"; do
  log="$target/fuzz/$name.log"
  if "$target/fuzz-build/$host/release/$name" "$target/fuzz/$name" -max_total_time="$SECONDS_EACH" \
    -max_len="$LONGEST_INPUT" -timeout="$SLOWEST_INPUT" -rss_limit_mb="$MEBIBYTES" \
    -artifact_prefix="$target/fuzz/found-$name-" >"$log" 2>&1; then
    echo "$name: $(tail -n 1 "$log")"
  else
    tail -n 60 "$log"
    failed=$((failed + 1))
  fi
done
word=ok
if [ "$failed" -gt 0 ]; then word=FAILED; fi
printf 'test result: %s. %d passed; %d failed; 0 ignored\n' "$word" "$((${#targets[@]} - failed))" "$failed"
[ "$word" = ok ]
