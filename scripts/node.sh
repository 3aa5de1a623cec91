# Node.js that runs TypeScript as it is: the system's if it is new enough, else one from npm, kept outside the clone. To be
# sourced; once `find_node || install_node` holds, it is the `node` on the PATH.

readonly NODE_VERSION=22
node_home="${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/kavachos-node"
export PATH="$node_home/node_modules/node/bin:$PATH"

find_node() {
  node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 18) ? 0 : 1)'
}

install_node() {
  npm install --no-audit --no-fund --prefix "$node_home" "node@$NODE_VERSION" && find_node
}
