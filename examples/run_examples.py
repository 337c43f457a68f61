#!/usr/bin/env python3
"""Runs the examples as their header comments say and checks what they print.

usage: run_examples.py FOLDER_OF_PROGRAMS | --lines
"""
import pathlib
import subprocess
import sys

SERVERS = ("echo_server", "echo_server_blocking")
CLIENTS = ("echo_client", "echo_client_blocking")
MOST_LINES = 45
TIMEOUT = 30  # seconds; an example takes milliseconds


def echo(folder, server_name, client_name):
    server = subprocess.Popen([folder / server_name], stdout=subprocess.PIPE, text=True)
    try:
        words = server.stdout.readline().split()
        assert len(words) == 2, f"{server_name} printed {words}, not its address and its pin"
        for text in ("hello, riffle", "x" * 50_000):
            client = subprocess.run([folder / client_name, *words, text], capture_output=True, text=True, timeout=TIMEOUT)
            assert client.returncode == 0, f"{client_name}: exit {client.returncode}: {client.stderr}"
            assert client.stdout == text + "\n", f"{client_name} printed {client.stdout[:60]!r}, not what was said"
        # Whoever has another key is not believed, and that is said.
        wrong = subprocess.run([folder / client_name, words[0], "0" * 64], capture_output=True, text=True, timeout=TIMEOUT)
        assert wrong.returncode == 4 and "pinned" in wrong.stderr, f"a wrong pin: exit {wrong.returncode}: {wrong.stderr}"
    finally:
        server.terminate()
        server.wait(TIMEOUT)
    print(f"{client_name} heard {server_name}")


def check_lines():
    for path in sorted(pathlib.Path(__file__).parent.glob("echo_*.cpp")):
        lines = len(path.read_text().splitlines())
        assert lines <= MOST_LINES, f"{path.name} has {lines} lines, more than {MOST_LINES}"
        print(f"{path.name}: {lines} lines")


def main():
    if sys.argv[1:] == ["--lines"]:
        return check_lines()
    folder = pathlib.Path(sys.argv[1])
    for server in SERVERS:
        for client in CLIENTS:
            echo(folder, server, client)


if __name__ == "__main__":
    main()
