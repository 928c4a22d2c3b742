"""Celery with its `auth` serializer: each task signed by its sender, verified by the worker.

https://docs.celeryq.dev/en/stable/userguide/security.html#message-signing, on a quorum queue as
https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/rabbitmq.html has it. The
worker is of one process (`--pool solo`), as all contenders are. Its loop is its own: no uvloop.

    python -m benchmarks.peers.celery_auth send|work
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Queue

from benchmarks.contender import PREFETCH, Job, Meter
from benchmarks.letters import order


def make_app(job: Job) -> Celery:
    folder = Path(job.options["celery"])
    app = Celery("shop", broker=job.url)
    app.conf.update(
        task_queues=[Queue(job.queue, queue_arguments={"x-queue-type": "quorum"})],
        task_default_queue=job.queue,
        task_ignore_result=True,
        worker_redirect_stdouts=False,
        worker_prefetch_multiplier=PREFETCH,
        broker_transport_options={"confirm_publish": True},
        security_key=str(folder / "worker.key"),
        security_certificate=str(folder / "worker.crt"),
        security_cert_store=str(folder / "*.crt"),
        security_digest="sha256",
        task_serializer="auth",
        accept_content=["auth"],
        event_serializer="auth",
        result_accept_content=["json"],
    )
    app.setup_security()
    return app


def main(job: Job, what: str) -> None:
    app, meter = make_app(job), Meter(job.count)

    @app.task(name="orders.place")
    def place_order(wanted: dict[str, Any]) -> None:
        del wanted
        if meter.tick():
            meter.end()
            meter.report()
            os.kill(os.getpid(), signal.SIGTERM)  # a warm shutdown, which acknowledges

    if what == "send":
        wanted = order().model_dump(mode="json")
        meter.begin()
        for _ in range(job.count):
            place_order.delay(wanted)
            meter.handled += 1
        meter.end()
        meter.report()
    else:
        app.worker_main(["worker", "--pool=solo", "--loglevel=error", "--queues", job.queue])


if __name__ == "__main__":
    main(Job.read(), sys.argv[1])
