"""riffle serve and riffle tunnel (CLI-2): TCP connections of other programs through one QUIC session."""
import concurrent.futures
import hashlib
import random
import re
import socket
import threading
import time
import unittest

from programs import PATIENCE, SIGINT, SIGKILL, SIGTERM, TestCase, connect, read_all, reset, unused_port


def echo(connection):
    """Sends back what comes, then the end behind it."""
    while piece := connection.recv(1 << 16):
        connection.sendall(piece)
    connection.shutdown(socket.SHUT_WR)


def echo_until_reset(connection):
    try:
        echo(connection)
    except ConnectionResetError:
        pass  # the tunnel was ended: the target is told


def answer_after_the_end(connection):
    """Answers only once it has seen the end: possible only where half-close is kept."""
    question = read_all(connection)
    connection.sendall(hashlib.sha256(question).digest())


class Forwarding(TestCase):
    def test_two_hundred_connections_at_once_carry_every_byte_both_ways(self):
        target = f"127.0.0.1:{self.listen(echo)}"
        _, ticket = self.serve(target)
        tunnel, (port,) = self.tunnel(ticket, target)

        def one(index):
            rng = random.Random(index)
            sent = rng.randbytes(rng.choice((0, 1, 1000, 65_536, 300_000)))
            with connect(port) as connection:
                def send():
                    connection.sendall(sent)
                    connection.shutdown(socket.SHUT_WR)
                sender = threading.Thread(target=send)
                sender.start()
                received = read_all(connection)
                sender.join()
            return len(sent), sent == received

        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            results = list(pool.map(one, range(200)))
        self.assertEqual([i for i, (_, equal) in enumerate(results) if not equal], [])
        total = sum(size for size, _ in results)
        self.assertEqual(tunnel.end(SIGTERM), 0)
        closed = re.match(r"closed +(\d+) connections, (\d+) bytes in, (\d+) bytes out, (\d+) datagrams, "
                          r"[\d.]+ datagrams a call$", tunnel.seen[-1])
        self.assertIsNotNone(closed, tunnel.seen[-1])
        self.assertEqual([int(field) for field in closed.groups()[:3]], [200, total, total])

    def test_half_close_is_kept(self):
        target = f"127.0.0.1:{self.listen(answer_after_the_end)}"
        _, ticket = self.serve(target)
        _, (port,) = self.tunnel(ticket, target)
        question = random.Random(1).randbytes(2_000_000)
        with connect(port) as connection:
            connection.sendall(question)
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(connection), hashlib.sha256(question).digest())

    def test_the_other_half_can_be_closed_first(self):
        received = []

        def say_and_listen(connection):
            connection.sendall(b"greeting")
            connection.shutdown(socket.SHUT_WR)
            received.append(read_all(connection))
            heard.set()

        heard = threading.Event()
        target = f"127.0.0.1:{self.listen(say_and_listen)}"
        _, ticket = self.serve(target)
        _, (port,) = self.tunnel(ticket, target)
        with connect(port) as connection:
            self.assertEqual(read_all(connection), b"greeting")
            connection.sendall(b"x" * 1_000_000)
        self.assertTrue(heard.wait(PATIENCE))
        self.assertEqual([len(part) for part in received], [1_000_000])

    def test_a_reader_that_stops_holds_its_sender_back_and_nobody_else(self):
        sent = [0]
        full = threading.Event()

        def flood(connection):
            connection.settimeout(2)  # so long without room: everything on the way is full
            try:
                while True:
                    sent[0] += connection.send(b"x" * (1 << 16))
            except TimeoutError:
                full.set()
            connection.settimeout(PATIENCE)
            connection.recv(1)

        flooding = f"127.0.0.1:{self.listen(flood)}"
        echoing = f"127.0.0.1:{self.listen(echo)}"
        _, ticket = self.serve(flooding, echoing)
        _, (flood_port, echo_port) = self.tunnel(ticket, flooding, echoing)
        with connect(flood_port) as stalled:
            self.assertTrue(full.wait(PATIENCE))
            # Socket buffers, credit and lists on the way: some MiB, and not what the sender would like to send.
            self.assertLess(sent[0], 64 << 20)
            with connect(echo_port) as other:
                other.sendall(b"still here")
                other.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(other), b"still here")
            # And no byte was lost.
            received = 0
            while received < sent[0]:
                received += len(stalled.recv(1 << 20))
            self.assertEqual(received, sent[0])
            stalled.sendall(b"!")

    def test_a_reset_of_the_target_resets_the_connection(self):
        def die(connection):
            connection.recv(1)
            reset(connection)

        target = f"127.0.0.1:{self.listen(die)}"
        _, ticket = self.serve(target)
        _, (port,) = self.tunnel(ticket, target)
        with connect(port) as connection:
            connection.sendall(b"?")
            with self.assertRaises(ConnectionResetError):
                read_all(connection)

    def test_a_reset_of_the_connection_resets_the_target(self):
        outcome = []
        told = threading.Event()

        def listen_on(connection):
            try:
                connection.sendall(b"!")
                while connection.recv(1 << 16):
                    pass
                outcome.append("an orderly end")
            except ConnectionResetError:
                outcome.append("reset")
            told.set()

        target = f"127.0.0.1:{self.listen(listen_on)}"
        _, ticket = self.serve(target)
        _, (port,) = self.tunnel(ticket, target)
        connection = connect(port)
        self.assertEqual(connection.recv(1), b"!")
        reset(connection)
        self.assertTrue(told.wait(PATIENCE))
        self.assertEqual(outcome, ["reset"])

    def test_two_tunnels_share_a_server(self):
        target = f"127.0.0.1:{self.listen(echo)}"
        _, ticket = self.serve(target)
        for _ in range(2):
            _, (port,) = self.tunnel(ticket, target)
            with connect(port) as connection:
                connection.sendall(b"hello")
                connection.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(connection), b"hello")

    def test_names_are_resolved_by_the_server(self):
        port = self.listen(echo)
        _, ticket = self.serve(f"localhost:{port}")
        _, (local,) = self.tunnel(ticket, f"localhost:{port}")
        with connect(local) as connection:
            connection.sendall(b"by name")
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(connection), b"by name")


class Refusals(TestCase):
    def refused(self, allowed, asked, sentence):
        server, ticket = self.serve(allowed)
        tunnel, (port,) = self.tunnel(ticket, asked)
        with connect(port) as connection:
            with self.assertRaises(ConnectionResetError):
                connection.sendall(b"?")
                read_all(connection)
        tunnel.wait_line(rf"^refused +{re.escape(asked)}: .*{sentence}")
        server.wait_line(rf"^refused +{re.escape(asked)}: .*{sentence}")
        # The tunnel lives on.
        self.assertEqual(tunnel.end(SIGINT), 0)
        self.assertEqual(server.end(SIGTERM), 0)

    def test_a_target_that_is_not_allowed(self):
        # Compared as written: what it resolves to does not count.
        port = self.listen(echo)
        self.refused(f"127.0.0.1:{port}", f"localhost:{port}", "not allow")

    def test_a_target_that_nobody_listens_on(self):
        target = f"127.0.0.1:{unused_port()}"
        self.refused(target, target, "cannot reach")

    def test_a_target_without_an_address(self):
        self.refused("no-such-host.invalid:80", "no-such-host.invalid:80", "cannot resolve")

    def test_a_ticket_of_another_server_key(self):
        _, ticket = self.serve("127.0.0.1:9", state=self.folder / "one")
        server, _ = self.serve("127.0.0.1:9", state=self.folder / "other")
        address = re.search(r"udp (\S+)", server.seen[0])[1]
        mixed = self.start("serve", "--listen", "127.0.0.1:0", "--state", self.folder / "one", "--allow", "127.0.0.1:9",
                           "--advertise", address).wait_line(r"tunnel (rfl1\w+)")[1]
        self.assertNotEqual(mixed, ticket)
        code, _, errors = self.run_to_end("tunnel", mixed, "-L", "0:127.0.0.1:9")
        self.assertEqual(code, 4, errors)
        self.assertIn("pinned", errors)

    def test_a_ticket_whose_secret_has_changed(self):
        server, ticket = self.serve("127.0.0.1:9")
        address = re.search(r"udp (\S+)", server.seen[0])[1]
        server.end(SIGTERM)
        (self.folder / "state" / "secret").write_text("00" * 16 + "\n")
        server, new = self.serve("127.0.0.1:9", listen=address)
        self.assertNotEqual(new, ticket)
        code, _, errors = self.run_to_end("tunnel", ticket, "-L", "0:127.0.0.1:9")
        self.assertEqual(code, 4, errors)
        self.assertIn("secret", errors)
        server.wait_line("turned away .*wrong secret")


class Ends(TestCase):
    def test_every_signal_ends_both_cleanly_within_a_second(self):
        target = f"127.0.0.1:{self.listen(echo_until_reset)}"
        for how in (SIGINT, SIGTERM):
            server, ticket = self.serve(target)
            tunnel, (port,) = self.tunnel(ticket, target)
            with connect(port) as connection:
                connection.sendall(b"x")
                self.assertEqual(connection.recv(1), b"x")
                for program in (tunnel, server):
                    begin = time.monotonic()
                    self.assertEqual(program.end(how), 0, program.stderr)
                    self.assertLess(time.monotonic() - begin, 5)  # a second, on a machine that does nothing else
                    self.assertRegex(program.seen[-1], "^closed  ")

    def test_a_server_that_ends_is_told_at_once(self):
        server, ticket = self.serve("127.0.0.1:9")
        tunnel, _ = self.tunnel(ticket, "127.0.0.1:9")
        server.end(SIGTERM)
        self.assertNotEqual(tunnel.end(), 0)
        self.assertRegex(tunnel.seen[-2], "^lost  ")
        self.assertRegex(tunnel.seen[-1], "^closed  ")
        self.assertIn("riffle: ", tunnel.stderr)

    def test_a_server_that_was_killed_is_noticed_by_its_silence(self):
        server, ticket = self.serve("127.0.0.1:9")
        tunnel, _ = self.tunnel(ticket, "127.0.0.1:9", options=("--idle-timeout", 2))
        server.end(SIGKILL)
        self.assertEqual(tunnel.end(), 3, tunnel.stderr)
        self.assertRegex("\n".join(tunnel.seen), r"lost .*nothing was heard")
        self.assertIn("nothing was heard", tunnel.stderr)

    def test_a_tunnel_that_was_killed_resets_its_targets_and_the_server_goes_on(self):
        ended = threading.Event()

        def until_the_end(connection):
            connection.sendall(b"!")
            try:
                while connection.recv(1 << 16):
                    pass
            except ConnectionResetError:
                ended.set()

        target = f"127.0.0.1:{self.listen(until_the_end)}"
        server, ticket = self.serve(target)
        # The shorter of both ends' idle timeouts counts (RFC 9000 section 10.1).
        tunnel, (port,) = self.tunnel(ticket, target, options=("--idle-timeout", 2))
        with connect(port) as connection:
            self.assertEqual(connection.recv(1), b"!")
            tunnel.end(SIGKILL)
            self.assertTrue(ended.wait(PATIENCE))
        server.wait_line("^gone ")
        _, (port,) = self.tunnel(ticket, target)
        with connect(port) as connection:
            self.assertEqual(connection.recv(1), b"!")

    def test_the_ticket_stays_the_same_and_its_files_are_private(self):
        server, ticket = self.serve("127.0.0.1:9")
        state = self.folder / "state"
        self.assertEqual(state.stat().st_mode & 0o777, 0o700)
        self.assertEqual({p.name: p.stat().st_mode & 0o777 for p in state.iterdir()},
                         {"key.pem": 0o600, "cert.pem": 0o600, "secret": 0o600})
        address = re.search(r"udp (\S+)", server.seen[0])[1]
        server.end(SIGTERM)
        file = self.folder / "ticket"
        server = self.start("serve", "--listen", address, "--state", state, "--allow", "127.0.0.1:9", "--ticket-file", file)
        self.assertEqual(server.wait_line(r"tunnel (rfl1\w+)")[1], ticket)
        self.assertEqual(file.read_text(), ticket + "\n")
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)


if __name__ == "__main__":
    unittest.main()
