"""Arguments, exit codes and sentences of the command (spec/command.md, "Common to all")."""
import os
import re
import socket
import unittest

from programs import SIGTERM, TestCase

OK, USAGE, UNREACHABLE, REFUSED, LOCAL = 0, 2, 3, 4, 6


class Usage(TestCase):
    def test_bad_arguments_end_with_code_2_and_a_sentence_that_names_them(self):
        ticket = self.serve("127.0.0.1:9")[1]
        typo = ticket[:-1] + ("q" if ticket[-1] != "q" else "p")
        bench = ("bench", "client", "--connect", "127.0.0.1:9", "--insecure", "--mode")
        state = ("--state", self.folder / "other")
        for arguments, sentence in (
                ((), "sub-command"),
                (("frobnicate",), "frobnicate"),
                (("--frobnicate",), "frobnicate"),
                (("serve",), "--allow"),
                (("serve", "--allow"), "--allow"),
                (("serve", *state, "--allow", "localhost"), "localhost"),
                (("serve", *state, "--allow", "localhost:0"), "localhost:0"),
                (("serve", *state, "--allow", "localhost:http"), "localhost:http"),
                (("serve", *state, "--allow", "localhost:80", "--listen", "nonsense"), "nonsense"),
                (("serve", *state, "--allow", "localhost:80", "--listen", "127.0.0.1:0", "--advertise", "here"), "here"),
                (("tunnel",), "ticket"),
                (("tunnel", ticket), "-L"),
                (("tunnel", "nonsense", "-L", "0:localhost:80"), "rfl1"),
                (("tunnel", typo, "-L", "0:localhost:80"), "typo"),
                (("tunnel", ticket[:40], "-L", "0:localhost:80"), "typo"),
                (("tunnel", ticket, "-L", "localhost:80"), "8080:localhost:80"),
                (("tunnel", ticket, "-L", "8080:localhost:http"), "8080:localhost:80"),
                (("bench",), "sub-command"),
                (("bench", "server"), "--listen"),
                (("bench", "server", "--listen", "127.0.0.1:0", "--cert", "x.pem"), "--key"),
                (("bench", "server", "--listen", "127.0.0.1:0", "--threads", "2"), "--threads"),
                (("bench", "client", "--mode", "rps"), "--connect"),
                ((*bench, "fastest"), "--mode"),
                ((*bench, "rps", "--secs", "0"), "--secs"),
                ((*bench, "rps", "--conns", "-1"), "--conns"),
                ((*bench, "rps", "--ca", "x.pem"), "--ca"),
                ((*bench, "rps", "--proto", "smux"), "smux")):
            with self.subTest(" ".join(map(str, arguments))):
                code, printed, errors = self.run_to_end(*arguments)
                self.assertEqual(code, USAGE, errors)
                self.assertTrue(errors.startswith("riffle: "), errors)
                self.assertIn(sentence, errors)
                self.assertEqual(printed, "")

    def test_help_shows_examples_and_ends_with_code_0(self):
        for arguments in ((), ("serve",), ("tunnel",), ("bench", "server"), ("bench", "client")):
            with self.subTest(arguments):
                code, printed, errors = self.run_to_end(*arguments, "--help")
                self.assertEqual((code, errors), (OK, ""))
                self.assertRegex(printed, r"(?s)Example.*riffle ")

    def test_the_version_is_a_line(self):
        code, printed, _ = self.run_to_end("--version")
        self.assertEqual(code, OK)
        self.assertRegex(printed, r"^riffle \d+\.\d+\.\d+$")


class Failures(TestCase):
    def failed(self, code, sentence, *arguments, **options):
        got, _, errors = self.run_to_end(*arguments, **options)
        self.assertEqual(got, code, errors)
        self.assertTrue(errors.startswith("riffle: "), errors)
        self.assertRegex(errors, sentence)

    def test_a_port_in_use_is_named(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.failed(LOCAL, f"in use.*{re.escape(address)}", "bench", "server", "--listen", address)
            self.failed(LOCAL, f"in use.*{re.escape(address)}", "serve", "--listen", address, "--allow", "localhost:80",
                        "--state", self.folder / "state")

    def test_a_local_port_in_use_is_named_before_anything_is_connected(self):
        _, ticket = self.serve("127.0.0.1:9")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.failed(LOCAL, f"in use.*127.0.0.1:{port}", "tunnel", ticket, "-L", f"{port}:127.0.0.1:9")

    def test_a_missing_file_is_named(self):
        missing = self.folder / "missing.pem"
        code, _, errors = self.run_to_end("bench", "server", "--listen", "127.0.0.1:0", "--cert", missing, "--key", missing)
        self.assertIn(code, (USAGE, LOCAL), errors)
        self.assertIn("missing.pem", errors)
        self.failed(LOCAL, "missing.pem", "bench", "client", "--connect", "127.0.0.1:9", "--mode", "rps", "--ca", missing)

    def test_a_state_folder_that_cannot_be_made_is_named(self):
        (self.folder / "file").write_text("")
        self.failed(LOCAL, "file/state", "serve", "--allow", "localhost:80", "--state", self.folder / "file" / "state",
                    "--listen", "127.0.0.1:0")

    def test_a_key_that_others_can_read_is_refused(self):
        server, _ = self.serve("127.0.0.1:9")
        server.end(SIGTERM)
        key = self.folder / "state" / "key.pem"
        key.chmod(0o644)
        self.failed(LOCAL, "key.pem can be read by others", "serve", "--allow", "localhost:80", "--state",
                    self.folder / "state", "--listen", "127.0.0.1:0")

    def test_a_secret_that_is_none_is_named(self):
        server, _ = self.serve("127.0.0.1:9")
        server.end(SIGTERM)
        (self.folder / "state" / "secret").write_text("hush\n")
        self.failed(LOCAL, "secret is not 32 hex digits", "serve", "--allow", "localhost:80", "--state",
                    self.folder / "state", "--listen", "127.0.0.1:0")

    def test_an_address_that_nobody_answers_is_unreachable(self):
        # Bound, so that nobody else answers there, and never read. Its own ICMP does not tell: it times out.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            self.failed(UNREACHABLE, re.escape("handshake"), "bench", "client", "--connect", address, "--mode", "rps",
                        "--insecure")

    def test_a_port_that_is_closed_is_unreachable_at_once(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.failed(UNREACHABLE, re.escape(address), "bench", "client", "--connect", address, "--mode", "rps", "--insecure")

    def test_a_name_without_an_address_is_unreachable(self):
        self.failed(UNREACHABLE, "no-such-host.invalid", "bench", "client", "--connect", "no-such-host.invalid:4433",
                    "--mode", "rps", "--insecure")

    def test_a_certificate_that_nobody_vouches_for_is_refused(self):
        server = self.start("bench", "server", "--listen", "127.0.0.1:0")
        address = server.wait_line(r"^listening (\S+)$")[1]
        self.failed(REFUSED, "trust", "bench", "client", "--connect", address, "--mode", "rps")

    def test_another_protocol_is_refused(self):
        server, _ = self.serve("127.0.0.1:9")
        address = re.search(r"udp (\S+)", server.seen[0])[1]
        self.failed(REFUSED, "ALPN", "bench", "client", "--connect", address, "--mode", "rps", "--insecure")

    def test_a_ticket_file_that_cannot_be_written_is_named(self):
        self.failed(LOCAL, "no/such/folder", "serve", "--allow", "localhost:80", "--state", self.folder / "state",
                    "--listen", "127.0.0.1:0", "--ticket-file", self.folder / "no/such/folder/ticket")

    def test_without_a_home_the_state_folder_must_be_named(self):
        bare = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CONFIG_HOME")}
        got, _, errors = self.run_to_end("serve", "--allow", "localhost:80", "--listen", "127.0.0.1:0", env=bare)
        self.assertEqual(got, USAGE, errors)
        self.assertIn("--state", errors)


if __name__ == "__main__":
    unittest.main()
