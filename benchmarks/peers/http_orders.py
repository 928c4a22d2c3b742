"""An order service over HTTP: asks the user service about every request, then stores the order.

FastAPI with a bearer token (https://fastapi.tiangolo.com/tutorial/security/), one httpx client
kept for all requests (https://www.python-httpx.org/async/), SQLAlchemy with one transaction for
each order. SQLite has one writer, so there it has one connection, and the durability that
Carnet's own has.
"""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

import httpx
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import JSON, BigInteger, String, event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.contender import Job
from services.gateway.requests import NewOrder

JOB: Final = Job.read()
ENGINE: Final = create_async_engine(
    JOB.options["database"], pool_size=1, max_overflow=0, pool_timeout=600
)
SESSIONS: Final = async_sessionmaker(ENGINE, expire_on_commit=False)
BEARER: Final = HTTPBearer()


class Base(DeclarativeBase):
    """The tables."""


class Order(Base):
    """An order with its lines, in one row."""

    __tablename__ = "orders"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    subject: Mapped[str] = mapped_column(String(36), index=True)
    currency: Mapped[str] = mapped_column(String(3))
    total: Mapped[str] = mapped_column(String(16))
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    placed_at: Mapped[int] = mapped_column(BigInteger)


@event.listens_for(ENGINE.sync_engine, "connect")
def durable(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with ENGINE.begin() as setting_up:
        await setting_up.run_sync(Base.metadata.create_all)
    login = (JOB.options["client"], JOB.options["secret"])
    async with httpx.AsyncClient(
        base_url=JOB.options["users"], auth=login, timeout=60, trust_env=False
    ) as client:
        app.state.users = client
        yield
    await ENGINE.dispose()


app = FastAPI(lifespan=lifespan)


async def subject(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(BEARER)],
) -> str:
    answer = await app.state.users.post("/introspect", data={"token": credentials.credentials})
    answer.raise_for_status()
    said = answer.json()
    if not said["active"]:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    if "orders:write" not in said["scope"].split():
        raise HTTPException(403)
    return str(said["sub"])


@app.get("/health")
async def health() -> str:
    return "ready"


@app.post("/v1/orders", status_code=201)
async def place_order(order: NewOrder, subject: Annotated[str, Depends(subject)]) -> dict[str, str]:
    placed = Order(
        id=str(uuid.uuid4()),
        subject=subject,
        currency=order.currency,
        total=str(sum(line.amount for line in order.lines)),
        lines=[line.model_dump(mode="json") for line in order.lines],
        placed_at=int(time.time() * 1000),
    )
    async with SESSIONS() as session, session.begin():
        session.add(placed)
    return {"id": placed.id}


if __name__ == "__main__":
    uvicorn.run(app, port=JOB.options["port"], access_log=False, log_level="warning")
