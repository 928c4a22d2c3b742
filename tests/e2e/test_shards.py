"""One shard becomes four under a running stack, by the operator's command."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Final

import pytest

from messaging.findings import Finding, Verdict
from services.contracts.topology import orders_commands
from services.doctor.examination import examine_stack
from services.local.logins import OPERATOR
from services.local.stack import LocalStack
from tests.brokers import RunningBroker, VhostBroker
from tests.e2e.test_doctor import CARNET, WITHIN, management_url

pytestmark = pytest.mark.timeout(300)

FOUR: Final = orders_commands(4)


async def shards(number: int, vhost: VhostBroker) -> dict[str, dict[str, int]]:
    """`carnet shards` as a command: what waits in each queue, and how many consume."""
    process = await asyncio.create_subprocess_exec(
        *(str(CARNET), "shards", str(number), "--json"),
        env={"PATH": os.environ["PATH"], "CARNET_OPERATOR_URL": vhost.url(OPERATOR)},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WITHIN):
        output, _ = await process.communicate()
    assert process.returncode == 0
    told: dict[str, dict[str, int]] = json.loads(output)
    return told


async def failures(stack: LocalStack, broker: RunningBroker) -> list[Finding]:
    """What the doctor finds wrong."""
    reports = await examine_stack(
        stack.state, passphrase=None, management=management_url(broker), clock=time.time
    )
    findings = [finding for report in reports for finding in report.findings]
    return [finding for finding in findings if finding.verdict is Verdict.FAIL]


async def test_an_operator_changes_the_number_of_shards_while_all_runs(
    broker: RunningBroker, tmp_path: Path
) -> None:
    async with broker.stack_vhost() as vhost:
        async with LocalStack(tmp_path, broker=vhost) as stack:
            assert set(await shards(4, vhost)) == set(FOUR.consumed)
            # The services do not know yet; the doctor sees that they should.
            assert any("is still bound" in found.detail for found in await failures(stack, broker))

        async with LocalStack(tmp_path, broker=vhost, shards=4) as stack:
            told = await shards(4, vhost)
            assert [queue["consumers"] for queue in told.values()] == [1] * 5
            assert await failures(stack, broker) == []
            told = await shards(3, vhost)
            assert [*told] == [*orders_commands(3).consumed, FOUR.shard(3)]
