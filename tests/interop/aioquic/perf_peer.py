#!/usr/bin/env python3
"""The QUIC perf protocol (ALPN perf) by aioquic: a server and a client for riffle's interoperability tests.

    perf_peer.py server --listen 127.0.0.1:0
    perf_peer.py client --connect ADDR:PORT --mode download|upload|rps --bytes N --streams S
                        --requests R --req-bytes N --resp-bytes N --concurrency C

On each bidirectional stream the client sends 8 bytes big-endian (how many bytes it wants back), then its upload, then
fin; the server reads to the fin and sends that many bytes and fin. Both print one JSON object of what they counted:
streams, received (less the headers) and sent. The client ends with 1 when a count is not what it asked for.
"""
import argparse
import asyncio
import datetime
import functools
import json
import signal
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived, StreamReset
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

HEADER = 8
STREAM_WINDOW = 1 << 20
CONNECTION_WINDOW = 16 << 20
PAYLOAD = bytes(i % 251 for i in range(1 << 20))


def configuration(is_client: bool) -> QuicConfiguration:
    found = QuicConfiguration(is_client=is_client, alpn_protocols=["perf"], max_data=CONNECTION_WINDOW,
                              max_stream_data=STREAM_WINDOW)
    if is_client:
        found.verify_mode = ssl.CERT_NONE
        found.server_name = "localhost"
        return found
    found.private_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    found.certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(found.private_key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1)).sign(found.private_key, hashes.SHA256()))
    return found


def payload(length: int) -> bytes:
    return (PAYLOAD * (length // len(PAYLOAD) + 1))[:length]


class Counts:
    def __init__(self):
        self.streams = self.received = self.sent = 0
        self.failed = ""

    def print(self):
        print(json.dumps(vars(self)), flush=True)


class ServerProtocol(QuicConnectionProtocol):
    def __init__(self, quic, stream_handler=None, *, counts):
        super().__init__(quic, stream_handler)
        self.counts = counts
        self.headers = {}

    def quic_event_received(self, event):
        if isinstance(event, StreamReset):
            self.counts.failed = f"stream {event.stream_id} was reset with {event.error_code}"
        if not isinstance(event, StreamDataReceived):
            return
        header = self.headers.setdefault(event.stream_id, bytearray())
        missing = HEADER - len(header)
        header += event.data[:missing]
        self.counts.received += len(event.data[missing:])
        if event.end_stream:
            if len(header) < HEADER:
                self.counts.failed = f"stream {event.stream_id} ended inside its header"
                return
            wanted = int.from_bytes(header, "big")
            del self.headers[event.stream_id]
            self.counts.streams += 1
            self.counts.sent += wanted
            self._quic.send_stream_data(event.stream_id, payload(wanted), end_stream=True)
            self.transmit()


class ClientProtocol(QuicConnectionProtocol):
    """Keeps a number of streams open at once until all are answered."""

    def start(self, counts: Counts, todo: list[tuple[int, int]], at_once: int) -> asyncio.Future:
        self.counts, self.todo, self.waiting = counts, list(reversed(todo)), {}
        self.finished = asyncio.get_running_loop().create_future()
        for _ in range(min(at_once, len(todo))):
            self.open()
        self.transmit()
        return self.finished

    def open(self):
        up, down = self.todo.pop()
        stream = self._quic.get_next_available_stream_id()
        self.waiting[stream] = down
        self.counts.sent += up
        self._quic.send_stream_data(stream, down.to_bytes(HEADER, "big") + payload(up), end_stream=True)

    def end(self, failed: str):
        if not self.finished.done():
            self.counts.failed = failed
            self.finished.set_result(None)

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.end(f"the connection ended with {event.error_code} {event.reason_phrase!r} too early")
        if isinstance(event, StreamReset):
            self.end(f"stream {event.stream_id} was reset with {event.error_code}")
        if not isinstance(event, StreamDataReceived):
            return
        self.counts.received += len(event.data)
        self.waiting[event.stream_id] -= len(event.data)
        if event.end_stream:
            left = self.waiting.pop(event.stream_id)
            self.counts.streams += 1
            if left:
                self.end(f"stream {event.stream_id} ended with {left} bytes missing (or, below 0, too many)")
            elif self.todo:
                self.open()
                self.transmit()
            elif not self.waiting:
                self.end("")


def host_and_port(text: str) -> tuple[str, int]:
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


async def serve(args) -> int:
    counts, stop = Counts(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    transport, server = await loop.create_datagram_endpoint(
        lambda: QuicServer(configuration=configuration(False),
                           create_protocol=functools.partial(ServerProtocol, counts=counts)),
        local_addr=host_and_port(args.listen))
    host, port = transport.get_extra_info("sockname")[:2]
    print(f"listening {host}:{port}", flush=True)
    await stop.wait()
    server.close()
    counts.print()
    return 1 if counts.failed else 0


def todo(args) -> list[tuple[int, int]]:
    """(upload, download) of each stream."""
    if args.mode == "rps":
        return [(args.req_bytes, args.resp_bytes)] * args.requests
    shares = [args.bytes // args.streams + (i < args.bytes % args.streams) for i in range(args.streams)]
    return [(share, 0) if args.mode == "upload" else (0, share) for share in shares]


async def run_client(args) -> int:
    counts = Counts()
    host, port = host_and_port(args.connect)
    async with connect(host, port, configuration=configuration(True), create_protocol=ClientProtocol) as client:
        streams = todo(args)
        at_once = args.concurrency if args.mode == "rps" else len(streams)
        await asyncio.wait_for(client.start(counts, streams, at_once), args.timeout)
    counts.print()
    if counts.failed:
        print(f"perf_peer: {counts.failed}", file=sys.stderr)
    return 1 if counts.failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    roles = parser.add_subparsers(dest="role", required=True)
    server = roles.add_parser("server")
    server.add_argument("--listen", required=True)
    client = roles.add_parser("client")
    client.add_argument("--connect", required=True)
    client.add_argument("--mode", required=True, choices=["download", "upload", "rps"])
    for name, default in (("bytes", 1 << 20), ("streams", 1), ("requests", 100), ("req-bytes", 512),
                          ("resp-bytes", 512), ("concurrency", 16), ("timeout", 60)):
        client.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    return asyncio.run(serve(args) if args.role == "server" else run_client(args))


if __name__ == "__main__":
    sys.exit(main())
