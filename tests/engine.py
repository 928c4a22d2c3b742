"""The container engine that tests may use, and its images."""

import logging
import os
import socket
from urllib.parse import urlsplit

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound
from testcontainers.core.config import ConnectionMode, testcontainers_config

RABBITMQ_IMAGE = "rabbitmq:4-management"
POSTGRES_IMAGE = "postgres:17"

DEFAULT_HOST = "unix:///var/run/docker.sock"
ANSWER_WITHIN = 10
PULL_SILENCE = 60  # seconds without a byte from the engine

# The reaper is one image more to be had; our fixtures stop what they start.
testcontainers_config.ryuk_disabled = True
# Ports are mapped to this host, whether or not we run in a container ourselves.
testcontainers_config.connection_mode_override = ConnectionMode.docker_host


# It logs each attempt to reach a broker that still boots as an error.
logging.getLogger("pika").setLevel(logging.CRITICAL)


class UnavailableError(Exception):
    """What a test needs cannot be had here; the text says why, in one line."""


def require_image(image: str) -> None:
    """Have `image` ready in the engine, pulled if need be.

    Raises:
        UnavailableError: no engine answers, or the image is neither here nor to be pulled.
    """
    if not _somebody_listens(os.environ.get("DOCKER_HOST", DEFAULT_HOST)):
        raise UnavailableError("no container engine answers")
    try:
        engine = docker.from_env(timeout=PULL_SILENCE)
    except DockerException as error:
        raise UnavailableError("no container engine answers") from error
    try:
        engine.images.get(image)
    except ImageNotFound:
        name, tag = image.split(":")
        try:
            engine.images.pull(name, tag)
        except (APIError, requests.RequestException) as error:
            raise UnavailableError(f"the image {image} is not here and cannot be pulled") from error
    except (APIError, requests.RequestException) as error:
        raise UnavailableError("the container engine does not answer") from error
    finally:
        engine.close()


def _somebody_listens(host: str) -> bool:
    # The client library leaves its socket open where nobody listens, which fails the tests.
    address = urlsplit(host)
    if address.scheme != "unix":
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_WITHIN)
        try:
            probe.connect(address.path)
        except OSError:
            return False
    return True
