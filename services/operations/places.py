"""What the settings mean that say to several commands where things are."""

from typing import Final

STATE_FOLDER: Final = "The local stack's folder: trust root, statement, keys, databases, logs"
TRUST_ROOT_FILE: Final = "File with the trust root's public JWKs; else the one in CARNET_STATE"
KEY_SET_FILE: Final = "File with the key set statement; else the one in CARNET_STATE"
DECLARED_FOLDER: Final = (
    "Folder with the service.toml of each service of one's own; else in CARNET_STATE"
)
OPERATOR_URL: Final = (
    "The broker, as AMQP URL of a login that may do anything; a running stack has one"
)
