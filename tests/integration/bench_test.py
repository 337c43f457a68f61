"""riffle bench (CLI-4) against itself: every mode runs, and its figures fit together."""
import json
import subprocess
import unittest

from programs import SIGINT, SIGTERM, TestCase

KEYS = {"mode", "bytes", "seconds", "cpu_seconds", "p50_us", "p99_us", "p999_us", "datagrams_sent", "datagrams_received",
        "udp_send_calls", "udp_receive_calls", "max_rss_kb"}


class Bench(TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.start("bench", "server", "--listen", "127.0.0.1:0", "--json")
        self.address = self.server.wait_line(r"^listening (127\.0\.0\.1:\d+)$")[1]

    def measure(self, mode, *arguments, stdin=subprocess.DEVNULL):
        code, printed, errors = self.run_to_end("bench", "client", "--connect", self.address, "--mode", mode, "--insecure",
                                                "--json", *arguments, stdin=stdin)
        self.assertEqual(code, 0, errors)
        figures = json.loads(printed)
        rate = "gbps" if mode in ("download", "upload") else "per_second"
        self.assertEqual(set(figures), KEYS | {rate})
        self.assertEqual(figures["mode"], mode)
        if figures["bytes"] > 1000:
            self.assertGreater(figures[rate], 0)
        self.assertGreater(figures["seconds"], 0)
        self.assertGreater(figures["cpu_seconds"], 0)
        self.assertGreater(figures["max_rss_kb"], 1000)
        if rate == "per_second" and mode != "idle":
            self.assertLessEqual(figures["p50_us"], figures["p99_us"])
            self.assertLessEqual(figures["p99_us"], figures["p999_us"])
        return figures

    def check_bulk(self, mode, *arguments):
        figures = self.measure(mode, "--bytes", 30_000_001, *arguments)
        self.assertEqual(figures["bytes"], 30_000_001)
        self.assertAlmostEqual(figures["gbps"], figures["bytes"] * 8e-9 / figures["seconds"], delta=figures["gbps"] / 50)
        heavy = figures["datagrams_received" if mode == "download" else "datagrams_sent"]
        self.assertGreater(heavy, 30_000_001 / 1472)

    def test_download_and_upload_move_exactly_so_many_bytes(self):
        for mode in ("download", "upload"):
            for arguments in ((), ("--streams", 16), ("--streams", 7, "--conns", 3), ("--streams", 4, "--callers", 2),
                              ("--streams", 100, "--callers", 4, "--conns", 2)):
                with self.subTest(f"{mode} {arguments}"):
                    self.check_bulk(mode, *arguments)

    def test_fewer_bytes_than_streams(self):
        for mode in ("download", "upload"):
            self.assertEqual(self.measure(mode, "--bytes", 3, "--streams", 10)["bytes"], 3)

    def test_requests_are_answered_by_handlers_and_by_callers(self):
        for arguments in ((), ("--concurrency", 1), ("--conns", 3), ("--callers", 2, "--concurrency", 8),
                          ("--callers", 3, "--conns", 2), ("--req-bytes", 0, "--resp-bytes", 0),
                          ("--req-bytes", 100_000, "--resp-bytes", 300_000, "--concurrency", 4)):
            with self.subTest(arguments):
                figures = self.measure("rps", "--secs", 0.3, *arguments)
                self.assertGreaterEqual(figures["seconds"], 0.25)

    def test_at_a_rate_so_many_requests_are_sent_whatever_the_answers_do(self):
        for arguments in ((), ("--callers", 2), ("--conns", 3), ("--callers", 2, "--conns", 5)):
            with self.subTest(arguments):
                figures = self.measure("rps", "--rate", 1000, "--secs", 1, *arguments)
                self.assertEqual(figures["bytes"], 1000 * (8 + 512 + 512))
                self.assertGreater(figures["seconds"], 0.9)

    def test_handshakes_follow_each_other(self):
        figures = self.measure("hps", "--secs", 0.5, "--concurrency", 4)
        self.assertGreater(figures["per_second"], 10)

    def test_idle_connections_are_held_until_standard_input_closes(self):
        client = self.start("bench", "client", "--connect", self.address, "--mode", "idle", "--conns", 100, "--insecure",
                            "--json", stdin=subprocess.PIPE)
        while not any("holding 100 connections" in line for line in client.errors):
            self.assertIsNone(client.process.poll(), client.stderr)
        self.assertIsNone(client.process.poll())
        client.process.stdin.close()
        self.assertEqual(client.end(), 0, client.stderr)
        self.assertEqual(json.loads(client.seen[-1])["mode"], "idle")

    def test_people_get_a_table(self):
        code, printed, _ = self.run_to_end("bench", "client", "--connect", self.address, "--mode", "rps", "--secs", 0.2,
                                           "--insecure")
        self.assertEqual(code, 0)
        self.assertRegex(printed, r"(?s)rps with 127.*requests +\d+.*service time +p50 [\d.]+ µs")

    def test_a_signal_ends_a_run_and_the_server(self):
        self.measure("download", "--bytes", 100_000)
        for arguments in (("download", "--bytes", 1 << 40), ("rps", "--secs", 1000), ("hps", "--secs", 1000),
                          ("idle", "--conns", 2), ("download", "--bytes", 1 << 40, "--callers", 1),
                          ("rps", "--secs", 1000, "--callers", 2), ("rps", "--secs", 100, "--rate", 10)):
            client = self.start("bench", "client", "--connect", self.address, "--insecure", "--mode", *arguments,
                                stdin=subprocess.PIPE)
            self.assertEqual(client.end(SIGINT), 1, client.stderr)
            self.assertIn("a signal", client.stderr)
            client.process.stdin.close()
        self.assertEqual(self.server.end(SIGTERM), 0, self.server.stderr)
        used = json.loads(self.server.seen[-1])
        self.assertEqual(set(used), {"cpu_seconds", "max_rss_kb", "datagrams_sent", "datagrams_received", "udp_send_calls",
                                     "udp_receive_calls"})
        self.assertGreater(used["datagrams_sent"], 0)

    def test_a_ca_that_signed_the_server_is_enough(self):
        # The state of `riffle serve` has a certificate with its key; as its own CA it vouches for itself.
        self.serve("127.0.0.1:9")
        state = self.folder / "state"
        server = self.start("bench", "server", "--listen", "127.0.0.1:0", "--cert", state / "cert.pem", "--key",
                            state / "key.pem")
        address = server.wait_line(r"^listening (\S+)$")[1]
        code, _, errors = self.run_to_end("bench", "client", "--connect", address, "--mode", "rps", "--secs", 0.1, "--ca",
                                          state / "cert.pem")
        # It is a certificate for the name "riffle", not for this address, and that is said.
        self.assertEqual(code, 4, errors)
        self.assertIn("certificate", errors)


if __name__ == "__main__":
    unittest.main()
