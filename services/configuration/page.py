"""`docs/settings.md`: all settings as one table, written from the code."""

from collections.abc import Iterable
from typing import Final

from services.configuration.catalogue import Setting

_HEAD: Final = """\
<!-- Written by `make docs` from the settings classes; a test compares. Change those, not this. -->
# Settings

All settings are environment variables. Each may be given as `…_FILE` too: a file that holds the
value, as container secrets are mounted (`CARNET_AMQP_URL_FILE=/run/secrets/amqp_url`). Those
marked † are read from the variable alone. Where both are set, the variable counts. Durations are
seconds, or ISO 8601 (`P30D`, `PT15M`). A `secret text` is never shown, logged or put into an error.

```sh
carnet config list orders     # this table, for one service
carnet config show orders     # what is set, where each value comes from; secrets left out
carnet config check orders    # what is wrong or can hardly be meant; exit code 1 if wrong
```

"""
_COLUMNS: Final = ("variable", "read by", "default", "value", "meaning")

_TAIL: Final = """
## Of the compose files

These are for `docker compose` itself, which sets the settings above for the containers.

| variable | default | meaning |
|---|---|---|
| `CARNET_SECRETS` | `./secrets` | folder that `make secrets` has made |
| `CARNET_PORT` | `8000` | port on this machine for the gateway |
| `CARNET_CONSOLE_PORT` | `8001` | port for the console; with `compose.cluster.yaml`, `8002` |
| `CARNET_SECOND_PORT` | `8001` | with `compose.cluster.yaml`: port for the second gateway |
| `CARNET_AMQP_PORT` | `5672` | port on this machine for the broker |
| `CARNET_MANAGEMENT_PORT` | `15672` | port on this machine for the broker's management API |
| `CARNET_GRAFANA_PORT` | `3000` | with the profile `telemetry`: port for Grafana |
| `CARNET_PROMETHEUS_PORT` | `9090` | likewise, for Prometheus |
| `CARNET_JAEGER_PORT` | `16686` | likewise, for Jaeger |

Where traces go is said by OpenTelemetry's own variables: [telemetry](telemetry.md#traces).
"""


def page(settings: Iterable[Setting]) -> str:
    """The whole document."""
    lines = [_row(_COLUMNS), _row("---" for _ in _COLUMNS)]
    for setting in settings:
        variable = f"`{setting.variable}`{'' if setting.from_file else ' †'}"
        default = setting.default
        quoted = default if " " in default or default in {"none", "required"} else f"`{default}`"
        readers = "; ".join(setting.readers)
        lines.append(_row((variable, readers, quoted, _values(setting.values), setting.meaning)))
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _values(text: str) -> str:
    """A pattern as code, so that nothing in it is markup."""
    before, found, pattern = text.partition("of the form ")
    return f"{before}{found}`{pattern}`" if found else text
