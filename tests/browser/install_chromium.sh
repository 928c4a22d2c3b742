#!/bin/sh
# Has a Chromium for the tests of the page: the one that is there, else Debian's, as root.
set -eu

[ -z "${CARNET_CHROMIUM:-}" ] || exit 0
if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then exit 0; fi
sudo=
if [ "$(id -u)" != 0 ]; then
    sudo=sudo
    command -v sudo >/dev/null && sudo -n true 2>/dev/null || sudo=none
fi
if [ "$sudo" = none ] || ! command -v apt-get >/dev/null; then
    echo 'no chromium: install it (Debian: apt-get install chromium), or name one in CARNET_CHROMIUM' >&2
    exit 1
fi
echo 'installing chromium from the distribution, for the tests of the page'
$sudo apt-get update -q
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends chromium fonts-dejavu-core
