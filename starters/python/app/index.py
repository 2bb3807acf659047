"""Where vectors are: those of documents in PostgreSQL with pgvector, those of all recent texts in Redis."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from psycopg import errors
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis

from app.embedding import DIMENSIONS, embed

#: How long a vector stays in the cache, in seconds.
CACHED = 24 * 3600

TABLE = f"""
create table if not exists documents (id uuid primary key, text text not null, embedding vector({DIMENSIONS}) not null);
create index if not exists documents_embedding on documents using hnsw (embedding vector_cosine_ops);
"""


class Index:
    """The documents and the cache."""

    def __init__(self, database: AsyncConnectionPool, cache: Redis) -> None:
        self._database = database
        self._cache = cache

    async def embed(self, text: str) -> list[float]:
        """Returns the vector of a text, which is computed once."""
        key = f"embedding:{hashlib.sha256(text.encode()).hexdigest()}"
        if cached := await self._cache.get(key):
            vector: list[float] = json.loads(cached)
            return vector
        vector = embed(text)
        await self._cache.set(key, json.dumps(vector), ex=CACHED)
        return vector

    async def store(self, document: UUID, text: str, vector: list[float]) -> None:
        """Stores a document. Doing it again changes nothing."""
        async with self._database.connection() as connection:
            await connection.execute(
                "insert into documents values (%s, %s, %s) on conflict do nothing", (document, text, json.dumps(vector))
            )

    async def search(self, query: str, limit: int) -> list[tuple[UUID, str, float]]:
        """Returns the id, the text and the distance of the nearest documents, the nearest first."""
        vector = json.dumps(await self.embed(query))
        async with self._database.connection() as connection:
            found = await connection.execute(
                "select id, text, embedding <=> %s::vector from documents order by 3 limit %s", (vector, limit)
            )
            return await found.fetchall()


@asynccontextmanager
async def open_index(database_url: str, redis_url: str) -> AsyncIterator[Index]:
    """Connects, and creates the table if it is missing."""
    async with AsyncConnectionPool(database_url) as database, Redis.from_url(redis_url) as cache:
        async with database.connection() as connection:
            try:
                await connection.execute("create extension if not exists vector")
            except errors.FeatureNotSupported as error:
                raise RuntimeError("PostgreSQL has no pgvector: install it, as README.md says") from error
            await connection.execute(TABLE)
        await cache.ping()
        yield Index(database, cache)
