"""Time from outside (RFC 3161): an authority's token over a head's text, which nobody here can date back."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit import exchange
from mythos_gate.errors import Misconfigured
from mythos_gate.tables import log_timestamps

# DER: the status of a response that grants what was asked for.
GRANTED = bytes.fromhex("3003020100")
SEQUENCE = b"\x30"
URLLESS = re.compile(r"[@#\s]")


class BadTimestamp(ValueError):
    """It is no token over this text by an authority that these certificates vouch for."""


@dataclass(frozen=True)
class Authority:
    """Where to ask, and the certificates that its own one leads to. Its word is signed, so http will do."""

    url: str
    roots: tuple[Certificate, ...]


def configured(url: str, roots: Path) -> Authority:
    """`Misconfigured` if it cannot be asked or believed."""
    if not _is_url(url):
        raise Misconfigured("MYTHOS_GATE_TIMESTAMP_URL is no URL like https://tsa.example/tsr, without user and #")
    try:
        return Authority(url, tuple(load_pem_x509_certificates(roots.read_bytes())))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"MYTHOS_GATE_TIMESTAMP_ROOTS names no certificates in PEM ({roots}): {error}") from error


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # a port that is none
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0 and not URLLESS.search(text)


async def ask(client: httpx.AsyncClient, authority: Authority, text: bytes) -> bytes:
    """A token (CMS, DER) over the SHA-256 of this text, which holds. `BadTimestamp`, `exchange.Unanswered`."""
    question = (
        TimestampRequestBuilder()
        .data(text)
        .hash_algorithm(HashAlgorithm.SHA256)
        .nonce(nonce=True)
        .cert_request(cert_request=True)
        .build()
    )
    answer = await exchange.post(client, authority.url, question.as_bytes(), "application/timestamp-query")
    if answer.status != 200:
        raise BadTimestamp(f"the authority answers with status {answer.status}")
    found = _verified(answer.body, text, authority.roots, question.nonce)
    return found.time_stamp_token()


def verify(token: bytes, text: bytes, roots: tuple[Certificate, ...]) -> datetime:
    """When the authority saw this text. `BadTimestamp` if that is not what the token says."""
    return _verified(response(token), text, roots).tst_info.gen_time


def response(token: bytes) -> bytes:
    """The token as the response in which it came (RFC 3161 2.4.2)."""
    body = GRANTED + token
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8)
    return SEQUENCE + (length if len(body) < 0x80 else bytes([0x80 | len(length)]) + length) + body


def _verified(given: bytes, text: bytes, roots: tuple[Certificate, ...], nonce: int | None = None) -> TimeStampResponse:
    try:
        found = decode_timestamp_response(given)
        VerifierBuilder(roots=list(roots), nonce=nonce).build().verify_message(found, text)
    except (ValueError, VerificationError) as error:
        raise BadTimestamp(f"the timestamp does not hold: {error}") from error
    return found


# --- what is stored -------------------------------------------------------------------------------------------


async def find(connection: AsyncConnection, size: int) -> bytes | None:
    """The token over the head of this size."""
    query = select(log_timestamps.c.token).where(log_timestamps.c.size == size)
    return (await connection.execute(query)).scalar_one_or_none()


async def newest(connection: AsyncConnection, size: int) -> tuple[int, bytes, datetime] | None:
    """The last token over a head of at most this size: of which size, and when it was stored."""
    query = select(log_timestamps).where(log_timestamps.c.size <= size).order_by(log_timestamps.c.size.desc()).limit(1)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row.size, row.token, row.at)


async def store(connection: AsyncConnection, size: int, token: bytes) -> None:
    """Unless there is one."""
    await connection.execute(insert(log_timestamps).values(size=size, token=token).on_conflict_do_nothing())
