"""A gateway over HTTP: validates the order, and calls the order service with the user's token.

FastAPI, and one httpx client kept for all requests (https://www.python-httpx.org/async/).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

import httpx
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from benchmarks.contender import Job
from services.gateway.requests import NewOrder

JOB: Final = Job.read()
BEARER: Final = HTTPBearer()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(
        base_url=JOB.options["orders"], timeout=60, trust_env=False
    ) as client:
        app.state.orders = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> str:
    return "ready"


@app.post("/v1/orders", status_code=201)
async def place_order(
    order: NewOrder, credentials: Annotated[HTTPAuthorizationCredentials, Depends(BEARER)]
) -> dict[str, Any]:
    answer = await app.state.orders.post(
        "/v1/orders",
        content=order.model_dump_json(),
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Bearer {credentials.credentials}",
        },
    )
    if not answer.is_success:
        raise HTTPException(answer.status_code)
    stored: dict[str, Any] = answer.json()
    return stored


if __name__ == "__main__":
    uvicorn.run(app, port=JOB.options["port"], access_log=False, log_level="warning")
