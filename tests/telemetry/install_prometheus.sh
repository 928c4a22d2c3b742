# Puts Debian's prometheus and promtool into .venv/prometheus, for the tests. Nothing is installed,
# and nothing started: the package is only unpacked.
set -eu
cd "$(dirname "$0")/../.."
target=$PWD/.venv/prometheus
command -v apt-get >/dev/null && command -v dpkg >/dev/null \
    || { echo 'no Debian: put prometheus and promtool on the PATH' >&2; exit 1; }
[ "$(id -u)" != 0 ] || apt-get update -q
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
(cd "$folder" && apt-get download -q prometheus)
mkdir -p "$target"
dpkg -x "$folder"/prometheus_*.deb "$target"
"$target/usr/bin/promtool" --version
