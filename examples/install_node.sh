#!/bin/sh
# Makes sure that there is Node.js 20 or newer with npm: from the machine's own packages where they
# are missing and that is allowed, else with one line on what to do.
set -eu
OLDEST=20

new_enough() {
    command -v npm >/dev/null && command -v node >/dev/null &&
        [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$OLDEST" ]
}

new_enough && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v node >/dev/null; then
    echo "installing nodejs and npm from this machine's packages"
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends nodejs npm
    new_enough && exit 0
fi
found=$(command -v node >/dev/null && node --version || echo none)
echo "Node.js $OLDEST or newer with npm is needed (here: $found): see https://nodejs.org" >&2
exit 1
