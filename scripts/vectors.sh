#!/usr/bin/env bash
# Holds JWT libraries of other languages, `jose` and PyJWT, against testdata/vectors.json, and runs docs/verify-a-token.md.
# Exits with 77 where there is no npm or no Python with pip, or no network for what is not installed yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/vectors"

source ../node.sh
readonly SKIP=77

skip() {
  echo "skipped: the tokens were NOT verified by other libraries: $1"
  exit "$SKIP"
}

install_jose() {
  if cmp -s package-lock.json node_modules/.installed; then return; fi
  npm ci --no-audit --no-fund || skip "jose cannot be installed with npm"
  cp package-lock.json node_modules/.installed
}

install_pyjwt() {
  if cmp -s pyjwt.txt "$venv/installed.txt"; then return; fi
  rm -rf "$venv"
  python3 -m venv "$venv" || skip "there is no Python with venv"
  "$venv/bin/pip" install --quiet --require-hashes --requirement pyjwt.txt || skip "PyJWT cannot be installed with pip"
  cp pyjwt.txt "$venv/installed.txt"
}

target=${CARGO_TARGET_DIR:-../../target}
mkdir -p "$target"
venv="$(cd "$target" && pwd)/pyjwt"

command -v npm >/dev/null || skip "there is no npm"
find_node || install_node || skip "Node.js $NODE_VERSION cannot be installed with npm"
install_jose
install_pyjwt
export PATH="$venv/bin:$PATH"

failed=0
node jose.mjs || failed=1
python3 pyjwt.py || failed=1
python3 page.py ../../docs/verify-a-token.md "$@" || failed=1
exit "$failed"
