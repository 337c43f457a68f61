"""Starts the programs of a test and reads what they print. Nothing here sleeps: it waits for lines and for ends."""
import contextlib
import os
import pathlib
import queue
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

RIFFLE = os.environ.get("RIFFLE", "riffle")
PATIENCE = 60  # seconds; what takes longer has failed, also on a loaded machine and under a sanitizer


class Program:
    """One running program; its lines are read as they come."""

    def __init__(self, *arguments, stdin=subprocess.DEVNULL, env=None):
        self.command = [str(a) for a in arguments]
        self.process = subprocess.Popen([RIFFLE, *self.command], stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=env)
        self.lines, self.seen, self.errors = queue.Queue(), [], []
        self.readers = [threading.Thread(target=self._read, daemon=True),
                        threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def _read_errors(self):
        self.errors.extend(self.process.stderr)

    def wait_line(self, pattern):
        """The first line from here on that `pattern` is found in, as a match."""
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"{self.command} printed no {pattern!r}, but {self.seen}") from None
            if line is None:
                self.process.wait(PATIENCE)
                self.readers[1].join(PATIENCE)
                raise AssertionError(f"{self.command} ended ({self.process.returncode}) without {pattern!r}: "
                                     f"{self.seen} {''.join(self.errors)}")
            self.seen.append(line)
            if match := re.search(pattern, line):
                return match

    def wait_until_signals_are_waited_for(self):
        """A signal that comes before the program has blocked it would end it by default. (The mask of blocked ones does
        not tell: it is empty again while a thread waits for them. SIGPIPE is ignored from the same moment on.)"""
        while self.process.poll() is None:
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
            if int(re.search(r"SigIgn:\s*(\w+)", status)[1], 16) & 1 << (signal.SIGPIPE - 1):
                return
            os.sched_yield()

    def end(self, how=None):
        """Its exit code, after the signal `how` if there is one."""
        if how is not None:
            self.wait_until_signals_are_waited_for()
            self.process.send_signal(how)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"{self.command} did not end: {self.seen} {''.join(self.errors)}") from None
        for reader in self.readers:
            reader.join(PATIENCE)
        while not self.lines.empty():
            if (line := self.lines.get()) is not None:
                self.seen.append(line)
        return code

    @property
    def stderr(self):
        return "".join(self.errors)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        for reader in self.readers:
            reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()


class TestCase(unittest.TestCase):
    """A folder for the test, and an end for every program that it has started."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="riffle-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start(self, *arguments, **options):
        program = Program(*arguments, **options)
        self.addCleanup(program.kill)
        return program

    def run_to_end(self, *arguments, **options):
        """(exit code, stdout, stderr)"""
        program = self.start(*arguments, **options)
        code = program.end()
        return code, "\n".join(program.seen), program.stderr

    def serve(self, *allow, state=None, listen="127.0.0.1:0"):
        """A running `riffle serve` and its ticket."""
        arguments = [part for target in allow for part in ("--allow", target)]
        server = self.start("serve", "--listen", listen, "--state", state or self.folder / "state", *arguments)
        return server, server.wait_line(r"riffle tunnel (rfl1\w+)")[1]

    def tunnel(self, ticket, *targets, options=()):
        """A running `riffle tunnel` and the ports that lead to the targets."""
        forwards = [part for target in targets for part in ("-L", f"0:{target}")]
        tunnel = self.start("tunnel", ticket, *forwards, *options)
        ports = [int(tunnel.wait_line(rf"^ready +127\.0\.0\.1:(\d+) → {re.escape(target)} +quic, [\d.]+ ms$")[1])
                 for target in targets]
        return tunnel, ports

    def listen(self, serve_one):
        """A TCP server with a thread for each connection; its port. What a thread raises fails the test."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        failures = []

        def one(connection):
            with connection:
                connection.settimeout(PATIENCE)
                try:
                    serve_one(connection)
                except Exception as fault:  # told below, on the test's own thread
                    failures.append(fault)

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        self.addCleanup(lambda: self.assertEqual(failures, []))
        self.addCleanup(close_listener, listener)
        return listener.getsockname()[1]


def close_listener(listener):
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)  # wakes the accept
    listener.close()


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    return connection


def read_all(connection):
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def reset(connection):
    """Closes with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def unused_port():
    """A TCP port that nobody listens on (until somebody takes it)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


SIGINT, SIGTERM, SIGKILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
