#!/usr/bin/env bash
# Runs the store's conformance suite against Cloudflare D1 in miniflare, and with `figures` takes the measurements of
# docs/adr/0014. Exits with 77 where there is no npm, or no network for what is not installed yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly SKIP=77 NODE_MAJOR=22 NODE_VERSION=22.23.3
readonly CACHE="${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/kavachos-node"

skip() {
  echo "skipped: Cloudflare D1 was NOT tested: $1"
  exit "$SKIP"
}

is_new_enough() {
  local version
  version=$("$1" --version 2>/dev/null) && version=${version#v} && [ "${version%%.*}" -ge "$NODE_MAJOR" ]
}

# The system's Node.js if it is new enough, else one from npm, kept outside the clone.
find_node() {
  node=$(command -v node || true)
  if [ -n "$node" ] && is_new_enough "$node"; then return; fi
  node="$CACHE/node_modules/node-linux-$(npm_machine)/bin/node"
  if is_new_enough "$node"; then return; fi
  npm install --prefix "$CACHE" --no-save --ignore-scripts --no-audit --no-fund \
    "node-linux-$(npm_machine)@$NODE_VERSION" || skip "Node.js $NODE_MAJOR cannot be installed with npm"
  is_new_enough "$node" || skip "the Node.js that npm installed does not run here"
}

npm_machine() { case $(uname -m) in aarch64) echo arm64 ;; *) echo x64 ;; esac; }

install() {
  if cmp -s package-lock.json node_modules/.installed; then return; fi
  npm ci --no-audit --no-fund || skip "miniflare cannot be installed with npm"
  cp package-lock.json node_modules/.installed
}

command -v npm >/dev/null || skip "there is no npm"
find_node
install
export KAVACH_D1_NODE="$node"
if [ "${1:-}" = figures ]; then
  exec cargo run --locked --release --example figures
fi
exec cargo test --locked "$@"
