#!/bin/sh
# Installs RabbitMQ from the machine's own packages, as root, without starting the machine's
# own node now or at the next boot: Carnet runs a private one.
set -eu
export DEBIAN_FRONTEND=noninteractive CARNET_INSTALLS_RABBITMQ=yes

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    # Forbids starting services to this command and its children, to nobody else.
    trap 'rm -f "$policy"' EXIT
    cat >"$policy" <<'POLICY'
#!/bin/sh
[ -z "${CARNET_INSTALLS_RABBITMQ:-}" ] || exit 101
exit 0
POLICY
    chmod 755 "$policy"
fi

apt-get update -q
apt-get install -yq --no-install-recommends rabbitmq-server
update-rc.d rabbitmq-server disable || true
