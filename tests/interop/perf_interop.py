#!/usr/bin/env python3
"""riffle and another QUIC stack, each as client and as server of the perf protocol (CLI-4), with all bytes counted.

    perf_interop.py --riffle build/dev/riffle --peer aioquic|quic-go
    perf_interop.py --riffle-bare build/cargo/release/riffle-bare --peer ...

The peers are built when they are first needed: aioquic in a virtual environment with pinned versions, quic-go by a Go
that is new enough for it. Without such a Go the test says so and ends with 77, which ctest shows as skipped. It ends
with 1 and a sentence when a count is wrong, a program fails, or one does not end on SIGTERM.
"""
import argparse
import fcntl
import hashlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SKIPPED = 77
BULK_BYTES = 4_000_003  # not a multiple of any chunk
REQUEST_BYTES, RESPONSE_BYTES, REQUESTS, AT_ONCE = 512, 700, 500, 16
TIMEOUT = 60  # seconds for a client
STOP_TIMEOUT = 10  # seconds from SIGTERM to the end, or to the first line of a server


class Failed(Exception):
    """What went wrong, in a sentence."""


class Skip(Exception):
    """Why this machine cannot run the test."""


def build_aioquic(work: Path) -> list[str]:
    requirements = HERE / "aioquic/requirements.txt"
    mark = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    venv, done = work / "aioquic", work / "aioquic/installed"
    if not done.exists() or done.read_text() != mark:
        shutil.rmtree(venv, ignore_errors=True)
        checked([sys.executable, "-m", "venv", str(venv)])
        checked([str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)])
        done.write_text(mark)
    return [str(venv / "bin/python"), str(HERE / "aioquic/perf_peer.py")]


def build_quic_go(work: Path) -> list[str]:
    needed = re.search(r"^go (\d+)\.(\d+)", (HERE / "quic_go/go.mod").read_text(), re.MULTILINE)
    version = f"{needed[1]}.{needed[2]}"
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if not go:
        raise Skip(f"quic-go needs Go {version} or newer; there is none here")
    # Whatever Go is there, it is not told to fetch another one.
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    have = subprocess.run([go, "env", "GOVERSION"], env=environment, cwd=work, capture_output=True, text=True)
    found = re.match(r"go(\d+)\.(\d+)", have.stdout)
    if not found or (int(found[1]), int(found[2])) < (int(needed[1]), int(needed[2])):
        raise Skip(f"quic-go needs Go {version} or newer; {go} is {have.stdout.strip() or 'of an unknown version'}")
    checked([go, "build", "-mod=readonly", "-o", str(work / "perf_peer"), "."], cwd=HERE / "quic_go", env=environment)
    return [str(work / "perf_peer")]


def checked(command: list[str], **options) -> None:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Failed(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def last_object(text: str) -> dict:
    objects = [line for line in text.splitlines() if line.startswith("{")]
    return json.loads(objects[-1]) if objects else {}


class Server:
    """Listens while the block runs, then must end cleanly on SIGTERM; `counts` is the JSON object that it left."""

    def __init__(self, command: list[str]):
        self.command = [*command, "server", "--listen", "127.0.0.1:0"]
        self.counts = {}

    def __enter__(self):
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.child = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        ready, _, _ = select.select([self.child.stdout], [], [], STOP_TIMEOUT)
        line = self.child.stdout.readline().strip() if ready else ""
        if not line.startswith("listening "):
            self.child.kill()
            self.fail(f"its first line is {line!r}, not `listening ADDR:PORT`")
        self.address = line.split()[1]
        return self

    def fail(self, what: str):
        self.errors.seek(0)
        raise Failed(f"`{' '.join(self.command)}`: {what}\n{self.errors.read()}".rstrip())

    def __exit__(self, kind, *_):
        self.child.send_signal(signal.SIGTERM)
        try:
            printed, _ = self.child.communicate(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.communicate()
            if kind is None:
                self.fail(f"did not end within {STOP_TIMEOUT} s of SIGTERM")
            printed = ""
        if kind is not None:
            self.errors.seek(0)
            print(f"the server said: {self.errors.read()[-2000:] or 'nothing'}", file=sys.stderr)
        if kind is None and self.child.returncode != 0:
            self.fail(f"ended with {self.child.returncode}")
        self.counts = last_object(printed)


def run_client(command: list[str]) -> dict:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Failed(f"`{' '.join(command)}` did not end within {TIMEOUT} s") from None
    if done.returncode != 0:
        raise Failed(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip())
    figures = last_object(done.stdout)
    if not figures:
        raise Failed(f"`{' '.join(command)}` printed no JSON object")
    return figures


def expect(what: str, found, wanted) -> None:
    if found != wanted:
        raise Failed(f"{what} is {found}, not {wanted}")


def modes() -> list[tuple[str, list[str]]]:
    bulk = ["--bytes", str(BULK_BYTES), "--streams"]
    return [
        ("download", [*bulk, "1"]),
        ("download", [*bulk, "16"]),
        ("upload", [*bulk, "1"]),
        ("upload", [*bulk, "16"]),
        ("rps", ["--req-bytes", str(REQUEST_BYTES), "--resp-bytes", str(RESPONSE_BYTES), "--concurrency",
                 str(AT_ONCE)]),
    ]


def check_bulk(who: str, mode: str, streams: int, counts: dict, server: bool) -> None:
    """What a peer counted of a bulk transfer."""
    sends = (mode == "download") == server
    expect(f"{who}: streams", counts["streams"], streams)
    expect(f"{who}: bytes sent", counts["sent"], BULK_BYTES if sends else 0)
    expect(f"{who}: bytes received", counts["received"], 0 if sends else BULK_BYTES)


def ours_as_client(ours: list[str], extra: list[str], peer: list[str], mode: str, options: list[str]) -> None:
    more = ["--secs", "1"] if mode == "rps" else []
    with Server(peer) as server:
        figures = run_client([*ours, "client", "--connect", server.address, "--mode", mode, *options, *more, *extra,
                              "--json"])
    expect("mode", figures.get("mode"), mode)
    if mode != "rps":
        expect("bytes", figures["bytes"], BULK_BYTES)
        check_bulk("the peer's server", mode, int(options[-1]), server.counts, server=True)
        return
    answered = server.counts["streams"]
    if figures["per_second"] <= 0 or answered < AT_ONCE:
        raise Failed(f"rps: {figures['per_second']} a second, and the peer's server answered {answered} requests")
    # Requests that were under way when the time was over need not have been counted by the client.
    counted = figures["per_second"] * figures["seconds"]
    if not counted - 1 <= answered <= counted + AT_ONCE + 1:
        raise Failed(f"rps: the client counted {counted:.0f} requests, the peer's server answered {answered}")
    expect("the peer's server: bytes sent", server.counts["sent"], answered * RESPONSE_BYTES)
    # --req-bytes are what follows the header.
    expect("the peer's server: bytes received", server.counts["received"], answered * REQUEST_BYTES)


def ours_as_server(ours: list[str], peer: list[str], mode: str, options: list[str]) -> None:
    more = ["--requests", str(REQUESTS)] if mode == "rps" else []
    with Server(ours) as server:
        counts = run_client([*peer, "client", "--connect", server.address, "--mode", mode, *options, *more])
    if mode == "rps":
        expect("the peer's client: requests", counts["streams"], REQUESTS)
        expect("the peer's client: bytes received", counts["received"], REQUESTS * RESPONSE_BYTES)
    else:
        check_bulk("the peer's client", mode, int(options[-1]), counts, server=False)


def run(args: argparse.Namespace) -> None:
    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    with open(work / f"{args.peer}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        peer = build_aioquic(work) if args.peer == "aioquic" else build_quic_go(work)
    ours, extra = ([args.riffle, "bench"], ["--insecure"]) if args.riffle else ([args.riffle_bare], [])
    name = "riffle" if args.riffle else "riffle-bare"
    if not os.access(ours[0], os.X_OK):
        raise Failed(f"{ours[0]} is not there: build it first")
    for mode, options in modes():
        shown = f"{mode} {' '.join(options)}"
        try:
            where = f"{name} client, {args.peer} server"
            ours_as_client(ours, extra, peer, mode, options)
            print(f"ok: {where}: {shown}", flush=True)
            where = f"{args.peer} client, {name} server"
            ours_as_server(ours, peer, mode, options)
            print(f"ok: {where}: {shown}", flush=True)
        except Failed as error:
            raise Failed(f"{where}: {shown}: {error}") from None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ours = parser.add_mutually_exclusive_group(required=True)
    ours.add_argument("--riffle", help="the riffle command")
    ours.add_argument("--riffle-bare", help="the bare loop, to test the peers by")
    parser.add_argument("--peer", required=True, choices=["aioquic", "quic-go"])
    parser.add_argument("--work", default=str(ROOT / "build/interop"), help="where the peers are built")
    args = parser.parse_args()
    try:
        run(args)
    except Skip as why:
        print(f"SKIPPED: {why}")
        return SKIPPED
    except Failed as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
