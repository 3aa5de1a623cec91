#!/usr/bin/env bash
# Runs the store's conformance suite against Cloudflare D1 in miniflare, and with `figures` takes the measurements of
# docs/adr/0014. Exits with 77 where there is no npm, or no network for what is not installed yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

source ../../scripts/node.sh
readonly SKIP=77

skip() {
  echo "skipped: Cloudflare D1 was NOT tested: $1"
  exit "$SKIP"
}

install() {
  if cmp -s package-lock.json node_modules/.installed; then return; fi
  npm ci --no-audit --no-fund || skip "miniflare cannot be installed with npm"
  cp package-lock.json node_modules/.installed
}

command -v npm >/dev/null || skip "there is no npm"
find_node || install_node || skip "Node.js $NODE_VERSION cannot be installed with npm"
install
KAVACH_D1_NODE=$(command -v node)
export KAVACH_D1_NODE
if [ "${1:-}" = figures ]; then
  exec cargo run --locked --release --example figures
fi
exec cargo test --locked "$@"
