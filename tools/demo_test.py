#!/usr/bin/env python3
"""Shows that the demo can fail: it is run with a stand-in for riffle that forwards faithfully, or breaks one thing."""
import pathlib
import subprocess
import sys
import tempfile

TOOLS = pathlib.Path(__file__).resolve().parent
STAND_IN = '''#!{python}
import signal, socket, sys, threading
FAULT = {fault!r}
signal.signal(signal.SIGINT, lambda *_: sys.exit(finish()))

def finish():
    if 'tunnel' in sys.argv and FAULT != 'statistics':
        print('closed      3 connections, 1 bytes in, 2 bytes out, 9 datagrams, 4.5 datagrams a call', flush=True)
    return 1 if FAULT == 'status' else 0

def copy(source, sink, harm):
    while data := source.recv(65536):
        if harm and len(data) > 1000:
            data = data[:-1] + bytes([data[-1] ^ 1])
            if FAULT == 'cut':
                break
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)

def forward(client, port):
    server = socket.create_connection(('127.0.0.1', port))
    threading.Thread(target=copy, args=(client, server, False), daemon=True).start()
    copy(server, client, FAULT in ('flip', 'cut'))
    client.close()

if sys.argv[1] == 'serve':
    ticket = sys.argv[sys.argv.index('--ticket-file') + 1]
    open(ticket, 'w').write('rfl1other' if FAULT == 'ticket' else 'rfl1abc')
    print('listening   udp 127.0.0.1:4433     key kept in x', flush=True)
    if FAULT == 'silent':
        sys.exit(1)
    print('on the other machine:  riffle tunnel rfl1abc  -L 8080:localhost:80', flush=True)
    signal.pause()
listener = socket.create_server(('127.0.0.1', 0), backlog=256)
target = int(sys.argv[sys.argv.index('-L') + 1].split(':')[-1])
print(f'ready       127.0.0.1:{{listener.getsockname()[1]}} → localhost:{{target}}    quic, 1.2 ms', flush=True)
while True:
    threading.Thread(target=forward, args=(listener.accept()[0], target), daemon=True).start()
'''


def demo(folder, fault):
    program = folder / 'riffle'
    program.write_text(STAND_IN.format(python=sys.executable, fault=fault))
    program.chmod(0o700)
    return subprocess.run([sys.executable, str(TOOLS / 'demo.py'), '--riffle', str(program), '--files', '12',
                           '--largest', '200000'], stdout=subprocess.PIPE, text=True)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        fine = demo(folder, '')
        assert fine.returncode == 0, fine.stdout
        assert '12 of 12 files intact through 1 QUIC session: ' in fine.stdout.splitlines()[-1], fine.stdout
        for fault in ('flip', 'cut', 'ticket', 'silent', 'status', 'statistics'):
            bad = demo(folder, fault)
            assert bad.returncode == 1 and bad.stdout.splitlines()[-1].startswith('FAILED: '), (fault, bad.stdout)
    print('demo: a flipped byte, a cut file, a wrong ticket, a dead server and a bad end are all noticed')


if __name__ == '__main__':
    main()
