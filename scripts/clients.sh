#!/usr/bin/env bash
# Drives OAuth clients of other people's making against a real `kavach serve`: tests/clients. Exits with 77 where there is no npm,
# or no network for what is not installed yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../tests/clients"

source ../../scripts/node.sh
readonly SKIP=77

skip() {
  echo "skipped: OAuth clients of others were NOT driven: $1"
  exit "$SKIP"
}

install() {
  if cmp -s package-lock.json node_modules/.installed; then return; fi
  npm ci --no-audit --no-fund || skip "the clients cannot be installed with npm"
  cp package-lock.json node_modules/.installed
}

command -v npm >/dev/null || skip "there is no npm"
find_node || install_node || skip "Node.js $NODE_VERSION cannot be installed with npm"
install
cargo build --locked -p kavachos-server
# As `cargo test --workspace` builds them.
cargo build --locked --workspace --examples
target=$(cd ../.. && cd "${CARGO_TARGET_DIR:-target}" && pwd)
exec node all.mjs "$target/debug/kavach" "$@"
