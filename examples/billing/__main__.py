"""Runs the service: `carnet services run billing`, or `python -m billing` with CARNET_… set."""

from billing.app import SERVICE
from billing.settings import Settings
from services.own import run

if __name__ == "__main__":
    run(SERVICE, Settings)
