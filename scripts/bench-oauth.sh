#!/usr/bin/env bash
# P9: CPU per token beside npm oidc-provider, in one run: bench/oauth. `--short` for fewer rounds. Exits with 77 where there is no npm,
# or no network for what is not installed yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../bench/oauth"

source ../../scripts/node.sh
readonly SKIP=77

skip() {
  echo "skipped: tokens were NOT measured beside oidc-provider: $1"
  exit "$SKIP"
}

command -v npm >/dev/null || skip "there is no npm"
find_node || install_node || skip "Node.js $NODE_VERSION cannot be installed with npm"
if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --no-audit --no-fund || skip "oidc-provider cannot be installed with npm"
  cp package-lock.json node_modules/.installed
fi
cargo build --release --locked -p kavachos-server --manifest-path ../../Cargo.toml
target=$(cd ../.. && cd "${CARGO_TARGET_DIR:-target}" && pwd)
exec node main.mjs "$target/release/kavach" "$@"
