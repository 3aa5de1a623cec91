#!/usr/bin/env bash
# Drives the pages in a real Chromium, against a real `kavach dev`: tests/browser. Exits with 77 where there is no npm or no
# Chromium, or no network for what is not installed yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../tests/browser"

source ../../scripts/node.sh
readonly SKIP=77

skip() {
  echo "skipped: the pages were NOT driven in a browser: $1"
  exit "$SKIP"
}

install() {
  if cmp -s package-lock.json node_modules/.installed; then return; fi
  npm ci --no-audit --no-fund || skip "playwright-core cannot be installed with npm"
  cp package-lock.json node_modules/.installed
}

command -v npm >/dev/null || skip "there is no npm"
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -n "$CHROMIUM" ] || skip "there is no Chromium"
export CHROMIUM
find_node || install_node || skip "Node.js $NODE_VERSION cannot be installed with npm"
install
cargo build --locked -p kavachos-server
target=$(cd ../.. && cd "${CARGO_TARGET_DIR:-target}" && pwd)
exec node people.mjs "$target/debug/kavach"
