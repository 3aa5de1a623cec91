#!/usr/bin/env bash
# Holds passkeys against implementations of other people: what Yubico's `fido2` writes is sent to a real `kavach dev`, right and
# tampered with, and Duo's `webauthn` judges the same. Exits with 77 where there is no Python with pip, or no network for what
# is not installed yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SKIP=77

skip() {
  echo "skipped: passkeys were NOT held against other implementations: $1"
  exit "$SKIP"
}

install() {
  if cmp -s scripts/passkeys.txt "$venv/installed.txt"; then return; fi
  rm -rf "$venv"
  python3 -m venv "$venv" || skip "there is no Python with venv"
  "$venv/bin/pip" install --quiet --require-hashes --requirement scripts/passkeys.txt ||
    skip "fido2 and webauthn cannot be installed with pip"
  cp scripts/passkeys.txt "$venv/installed.txt"
}

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
mkdir -p "$target"
venv="$target/passkeys"
install
cargo build --quiet --locked -p kavachos-server
exec "$venv/bin/python" scripts/passkeys.py "$target/debug/kavach"
