#!/usr/bin/env bash
# Checks everything, on a fresh Debian or Ubuntu with Rust and a network. The last line is `N passed, N failed`,
# with `, N skipped` when something could not be tried; the exit code is 0 only if nothing failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly DENY_VERSION=0.20.2
readonly SKIP=77       # the exit code of a step that could not be tried
readonly LOG_LINES=400 # how much of a failed step's log is shown
readonly ROOM_GB=25    # what a check from nothing writes: the builds, and for a while its databases

# To add a step, write a function and name it here.
readonly STEPS=(tools format lints tests api vectors passkeys clients browser fuzz docs benches edge dependencies advisories)

tools() {
  cc --version || as_root sh -c 'apt-get update && apt-get install -y build-essential'
  nginx -v || as_root sh -c 'apt-get update && apt-get install -y nginx-light'
  # Pages of the book that need what is missing here say that they are skipped.
  curl --version && python3 --version && ip -V ||
    as_root sh -c 'apt-get update && apt-get install -y curl python3 iproute2' || true
  python3 -c 'import ensurepip, venv' || as_root sh -c 'apt-get update && apt-get install -y python3-venv'
  caddy version || as_root sh -c 'apt-get update && apt-get install -y caddy' || true
  npm --version || as_root sh -c 'apt-get update && apt-get install -y npm' || true
  chromium --version || as_root sh -c 'apt-get update && apt-get install -y chromium' || true
  find_node || install_node || true
  cargo fmt --version || rustup component add rustfmt
  cargo clippy --version || rustup component add clippy
  # The tests start clusters of their own from its binaries. Without them they say that they skipped PostgreSQL.
  find_postgres || as_root sh -c 'apt-get update && apt-get install -y postgresql' || true
  cargo deny --version || cargo install --locked "cargo-deny@$DENY_VERSION"
  cargo fetch --locked
}

find_postgres() { command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; }

format() { cargo fmt --all --check; }

lints() { cargo clippy --workspace --all-targets --locked -- -D warnings; }

# Unit, integration and doc tests; among them the goldens and the directions of crates. Examples are built.
tests() { cargo test --workspace --locked --no-fail-fast; }

# Generated requests against a real server, held against its OpenAPI document; `scripts/schemathesis.sh long` sends more.
api() { scripts/schemathesis.sh short; }

# JWT libraries of other languages against testdata/vectors.json. Needs npm, and a network for the first time.
vectors() { scripts/vectors.sh; }

# Passkeys of other people's making. Needs a network for the first time.
passkeys() { scripts/passkeys.sh; }

# OAuth clients of other people's making: the MCP conformance suite, its SDKs, openid-client. Needs npm, and a network for the
# first time.
clients() { scripts/clients.sh; }

# The pages in a real Chromium, with a key that it makes up. Needs npm, and a network for the first time.
browser() { scripts/browser.sh; }

# Every decoder of bytes from outside, for seconds; `scripts/fuzz.sh long` takes a minute for each.
fuzz() {
  cargo fmt --manifest-path fuzz/Cargo.toml --check
  cargo clippy --manifest-path fuzz/Cargo.toml --all-targets --locked -- -D warnings
  scripts/fuzz.sh short
}

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked; }

# The figures take too long and a quiet machine; that they can still be taken is checked.
benches() {
  cargo fmt --manifest-path bench/Cargo.toml --check
  cargo clippy --manifest-path bench/Cargo.toml --all-targets --locked -- -D warnings
}

# The store's conformance suite on Cloudflare D1 in miniflare. Needs npm, and a network for the first time.
edge() {
  cargo fmt --manifest-path spikes/d1/Cargo.toml --check
  cargo clippy --manifest-path spikes/d1/Cargo.toml --all-targets --locked -- -D warnings
  spikes/d1/run.sh
}

dependencies() { cargo deny --locked check bans licenses sources; }

advisories() {
  if ! timeout 120 cargo deny --locked fetch db; then
    echo "skipped: advisories (no network: the list of known vulnerabilities cannot be fetched)"
    return "$SKIP"
  fi
  cargo deny --locked check --disable-fetch advisories
}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# rustup looks for its toolchains in HOME. Where HOME was changed, they are still beside the cargo that was found.
find_toolchain() {
  cargo --version >/dev/null 2>&1 && return
  local home rustup
  home=$(dirname "$(dirname "$(command -v cargo || echo /nowhere/bin/cargo)")")
  rustup="$(dirname "$home")/.rustup"
  if [ -d "$rustup" ]; then
    export RUSTUP_HOME="${RUSTUP_HOME:-$rustup}"
    if [ -w "$home" ]; then export CARGO_HOME="${CARGO_HOME:-$home}"; fi
  fi
  cargo --version >/dev/null && return
  echo "cargo does not run. Install Rust with rustup; if it is installed, set RUSTUP_HOME and CARGO_HOME to the"
  echo "directories it was installed to (usually .rustup and .cargo in your home): HOME is now \`${HOME:-}\`."
  printf '0 passed, 1 failed\n'
  exit 1
}

# In CI the build outlives the clone, so that what we depend on is not built again.
choose_directories() {
  export PATH="$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin" CARGO_TERM_COLOR=never
  if [ -z "${CARGO_TARGET_DIR:-}" ] && [ "${CI:-}" = true ]; then
    export CARGO_TARGET_DIR="${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/kavachos-target"
  fi
  source scripts/node.sh
  logs="${CARGO_TARGET_DIR:-target}/check"
  mkdir -p "$logs"
  if [ -n "${CARGO_TARGET_DIR:-}" ]; then own_shared_build; fi
}

# cargo tells stale from fresh by the time of a file, not by the clone that it is in: of two clones that share a build
# directory, the older would be given what was built from the newer. So one check uses it at a time, and first makes
# its files newer than all that was built.
own_shared_build() {
  exec 9>"$logs/lock"
  flock --nonblock 9 || { echo "waiting for another check in $CARGO_TARGET_DIR"; flock 9; }
  find . \( -name .git -o -name target \) -prune -o -type f -exec touch -c {} +
  make_room
}

# Builds of earlier trees pile up in a directory that outlives them. Where the disk is short they go, the least useful
# first.
make_room() {
  local old
  for old in "$CARGO_TARGET_DIR"/*/incremental "$CARGO_TARGET_DIR"/{debug,release,doc}; do
    if [ "$(free_gb "$CARGO_TARGET_DIR")" -ge "$ROOM_GB" ]; then return; fi
    echo "removing $old: less than $ROOM_GB GB are free"
    rm -rf "$old"
  done
}

free_gb() { df --output=avail -B1G "$1" | tail -n 1 | tr -d ' '; }

passed=0 failed=0 skipped=0

run_step() {
  local name=$1 log="$logs/$1.log" started=$SECONDS status=0 word
  printf '\n== %s (%s)\n' "$name" "$log"
  set +e # in a subshell with its own `set -e`: a step ends at its first failing command
  (set -e; "$name") >"$log" 2>&1
  status=$?
  set -e
  case $status in
    0) word=ok ;;
    "$SKIP") word=SKIPPED ;;
    *) word=FAILED; grep -v '^test .* \.\.\. ok$' "$log" | tail -n "$LOG_LINES" ;;
  esac
  count "$log" "$status"
  grep -E '^skipped: |^test .* \.\.\. ignored' "$log" || true
  printf '%s: %s, %d s\n' "$name" "$word" "$((SECONDS - started))"
}

# A step that ran tests counts as its tests, any other as one. A step that failed counts at least one failure. A test
# that could not be tried prints a line `skipped: ` and passes: it counts as skipped.
count() {
  local log=$1 status=$2 good bad ignored untried
  read -r good bad ignored untried < <(awk '/^skipped: / { untried++ } /^test result: / {
      for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) good += $(i - 1)
        if ($i ~ /^failed/) bad += $(i - 1)
        if ($i ~ /^ignored/) ignored += $(i - 1)
      }
    } END { print good + 0, bad + 0, ignored + 0, untried + 0 }' "$log")
  if [ "$status" -eq "$SKIP" ]; then
    ignored=$((ignored + 1))
  elif [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
    bad=1
  elif [ "$status" -eq 0 ] && ! grep -q '^test result: ' "$log"; then
    good=1
  else
    good=$((good - untried)) ignored=$((ignored + untried))
  fi
  passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + ignored))
}

find_toolchain
choose_directories
# A full disk fails tests in ways that do not name it.
for place in "${CARGO_TARGET_DIR:-.}" "${TMPDIR:-/tmp}"; do
  room=$(free_gb "$place")
  printf '%s: %d GB free%s\n' "$place" "$room" "$([ "$room" -ge "$ROOM_GB" ] || echo ', which may not be enough')"
done
for step in "${STEPS[@]}"; do run_step "$step"; done

if ! grep -qE '^test result: .* [1-9][0-9]* passed' "$logs/tests.log"; then
  echo "no test ran"
  failed=$((failed + 1))
fi
printf '\n%d passed, %d failed' "$passed" "$failed"
if [ "$skipped" -gt 0 ]; then printf ', %d skipped' "$skipped"; fi
printf '\n'
[ "$failed" -eq 0 ]
