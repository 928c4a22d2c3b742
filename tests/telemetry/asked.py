"""A Prometheus that runs somewhere, as it is asked."""

from typing import Any

import httpx


class Prometheus:
    """One that runs, and is asked over HTTP."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=10)

    async def close(self) -> None:
        await self._client.aclose()

    async def ready(self) -> bool:
        try:
            return (await self._client.get("/-/ready")).is_success
        except httpx.TransportError:
            return False

    async def ask(self, expression: str) -> list[dict[str, Any]]:
        answer = await self._client.get("/api/v1/query", params={"query": expression})
        assert answer.is_success, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    async def health(self) -> set[str]:
        """What Prometheus says of its rules."""
        return {rule["health"] for rule in await self.rules()}

    async def rules(self) -> list[dict[str, Any]]:
        groups = (await self._client.get("/api/v1/rules")).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]
