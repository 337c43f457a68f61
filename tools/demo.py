#!/usr/bin/env python3
"""The main job, shown: a web server on a folder of real files, `riffle serve` and `riffle tunnel` in front of it, 100
downloads at once through the tunnel by curl, every checksum compared. Exit status 0 only if every file is intact.

usage: demo.py --riffle PROGRAM [--files N] [--largest BYTES]
"""
import argparse
import contextlib
import hashlib
import http.server
import os
import pathlib
import queue
import random
import re
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

READY_SECONDS = 20
SEED = 20


class WebServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    # All files are asked for at once: a shorter backlog would refuse some, and prove nothing about the tunnel.
    request_queue_size = 512
    daemon_threads = True


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def web_server(folder):
    server = WebServer(('127.0.0.1', 0), lambda *args: QuietHandler(*args, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def make_files(folder, count, largest):
    """Files of 1 byte to `largest`, their sizes spread evenly over the powers of ten. name -> SHA-256."""
    rng, digests = random.Random(SEED), {}
    for index in range(count):
        size = round(largest ** (index / max(1, count - 1)))
        data = rng.randbytes(size)
        name = f'{index:03d}-{size}.bin'
        (folder / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    return digests


class Program:
    """A child whose lines of output are kept, and waited for by pattern."""

    def __init__(self, label, command):
        self.label, self.lines, self.arrived = label, [], queue.Queue()
        # Its own process group: a Ctrl-C is for this script, which then ends its children in order.
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        stdin=subprocess.DEVNULL, start_new_session=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip('\n'))
            self.arrived.put(self.lines[-1])
        self.arrived.put(None)

    def wait_for(self, pattern):
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                line = self.arrived.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise Failure(f'{self.label} did not print a line like "{pattern}"', self)
            match = re.search(pattern, line)
            if match:
                return match

    def end(self):
        """Asks it to end and returns its exit status; kills what does not end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(READY_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.reader.join(READY_SECONDS)
        return self.process.returncode


class Failure(Exception):
    def __init__(self, sentence, *programs):
        super().__init__(sentence)
        self.programs = programs


def download(port, names, folder):
    """All files at once. Returns the seconds that it took."""
    config = folder.parent / 'curl.config'
    config.write_text(''.join(f'url = "http://127.0.0.1:{port}/{name}"\noutput = "{folder / name}"\n' for name in names))
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith('_proxy')}
    begin = time.monotonic()
    done = subprocess.run(['curl', '-q', '--silent', '--show-error', '--fail', '--max-time', '300', '--parallel',
                           '--parallel-immediate', '--parallel-max', str(len(names)), '--config', str(config)],
                          env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f'  curl ended with {done.returncode}: ' + '; '.join(done.stderr.strip().splitlines()[:5]))
    return time.monotonic() - begin


def intact(folder, digests):
    """How many files arrived whole; says what is wrong with the first few others."""
    good = bad = 0
    for name, digest in digests.items():
        path = folder / name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            good += 1
            continue
        bad += 1
        if bad <= 5:
            print(f'  {name}: ' + (f'{path.stat().st_size} bytes arrived, and they differ' if path.is_file() else 'missing'))
    return good


def megabytes(count):
    return f'{count / 1e6:,.0f} MB'.replace(',', ' ')


def demo(riffle, count, largest, folder):
    origin, copies = folder / 'origin', folder / 'copies'
    origin.mkdir()
    copies.mkdir()
    digests = make_files(origin, count, largest)
    total = sum(path.stat().st_size for path in origin.iterdir())
    print(f'made        {count} files of 1 byte to {megabytes(largest)}, {megabytes(total)} in all')
    with web_server(origin) as web_port, contextlib.ExitStack() as children:
        print(f'web server  127.0.0.1:{web_port}')
        ticket_file = folder / 'ticket'
        serve = Program('riffle serve', [riffle, 'serve', '--listen', '127.0.0.1:0', '--allow', f'localhost:{web_port}',
                                         '--state', str(folder / 'state'), '--ticket-file', str(ticket_file)])
        children.callback(serve.end)
        print('serve       listening udp ' + serve.wait_for(r'listening\s+udp (\S+)')[1])
        ticket = serve.wait_for(r'riffle tunnel (rfl1\S+)')[1]
        if ticket_file.read_text().split() != [ticket]:
            raise Failure('the ticket file does not hold the ticket that was printed', serve)
        tunnel = Program('riffle tunnel', [riffle, 'tunnel', ticket, '-L', f'127.0.0.1:0:localhost:{web_port}'])
        children.callback(tunnel.end)
        ready = tunnel.wait_for(r'ready\s+(127\.0\.0\.1:(\d+) .*)')
        print(f'tunnel      {ready[1]}')
        print(f'curl        {count} downloads at once through the tunnel')
        seconds = download(int(ready[2]), list(digests), copies)
        good = intact(copies, digests)
        statuses = {program: program.end() for program in (tunnel, serve)}
        closed = next((line for line in reversed(tunnel.lines) if line.startswith('closed')), '')
        print(closed or 'tunnel      printed no closing line')
        for program, status in statuses.items():
            if status != 0:
                raise Failure(f'{program.label} ended with status {status}', program)
        batch = re.search(r'([\d.]+) datagrams a call', closed)
        print(f'{good} of {count} files intact through 1 QUIC session: {megabytes(total)}, '
              f'{total * 8 / seconds / 1e9:.2f} Gbit/s, {batch[1] if batch else "unknown"} datagrams a call')
        if good != count or not batch:
            raise Failure('not every file arrived whole' if good != count else 'the tunnel gave no statistics', tunnel, serve)


def main(arguments):
    parser = argparse.ArgumentParser(description='100 files through riffle serve and riffle tunnel')
    parser.add_argument('--riffle', default='build/release/riffle')
    parser.add_argument('--files', type=int, default=100)
    parser.add_argument('--largest', type=int, default=20_000_000)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(tempfile.mkdtemp(prefix='riffle-demo-'))
    try:
        demo(str(pathlib.Path(options.riffle).resolve()), options.files, options.largest, folder)
        return 0
    except Failure as failure:
        for program in failure.programs:
            print('\n'.join([f'--- {program.label} said:'] + program.lines[-20:]))
        print(f'FAILED: {failure}')
        return 1
    except KeyboardInterrupt:
        print('interrupted; everything was ended and removed')
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main(sys.argv[1:]))
