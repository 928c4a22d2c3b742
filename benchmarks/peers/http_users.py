"""A user service that is asked about tokens: introspection (RFC 7662) of opaque ones.

FastAPI with HTTP Basic for its clients, secrets compared in constant time
(https://fastapi.tiangolo.com/advanced/security/http-basic-auth/), and a form
(https://fastapi.tiangolo.com/tutorial/request-forms/). Tokens are kept hashed in SQLite, read
with SQLAlchemy (https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html).
"""

import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

import uvicorn
from fastapi import Depends, FastAPI, Form, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from sqlalchemy import BigInteger, String
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.contender import Job

JOB: Final = Job.read()
ENGINE: Final = create_async_engine(JOB.options["database"])
SESSIONS: Final = async_sessionmaker(ENGINE, expire_on_commit=False)
BASIC: Final = HTTPBasic()


class Base(DeclarativeBase):
    """The tables."""


class Token(Base):
    """A token that was issued."""

    __tablename__ = "tokens"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject: Mapped[str] = mapped_column(String(36))
    scope: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[int] = mapped_column(BigInteger)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with ENGINE.begin() as setting_up:
        await setting_up.run_sync(Base.metadata.create_all)
    async with SESSIONS() as session, session.begin():
        for subject, token in JOB.options["tokens"].items():
            issued = Token(
                digest=digest(token),
                subject=subject,
                scope="orders:read orders:write",
                expires_at=int(time.time()) + 900,
            )
            session.add(issued)
    yield
    await ENGINE.dispose()


app = FastAPI(lifespan=lifespan)


async def client(credentials: Annotated[HTTPBasicCredentials, Depends(BASIC)]) -> str:
    known = JOB.options["client"], JOB.options["secret"]
    given = credentials.username, credentials.password
    if not all(
        secrets.compare_digest(one.encode(), other.encode())
        for one, other in zip(given, known, strict=True)
    ):
        raise HTTPException(401, headers={"WWW-Authenticate": "Basic"})
    return credentials.username


@app.get("/health")
async def health() -> str:
    return "ready"


@app.post("/introspect", dependencies=[Depends(client)])
async def introspect(token: Annotated[str, Form()]) -> dict[str, Any]:
    async with SESSIONS() as session:
        found = await session.get(Token, digest(token))
    if found is None or found.expires_at <= time.time():
        return {"active": False}
    return {
        "active": True,
        "sub": found.subject,
        "scope": found.scope,
        "exp": found.expires_at,
        "token_type": "Bearer",
    }


if __name__ == "__main__":
    uvicorn.run(app, port=JOB.options["port"], access_log=False, log_level="warning")
