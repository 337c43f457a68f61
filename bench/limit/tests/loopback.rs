//! Both ends as processes on loopback, as the benchmark runs them.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_riffle-limit");

struct Server {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Server {
    fn start() -> Server {
        let mut child = Command::new(PROGRAM)
            .args(["server", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening ").unwrap().trim().to_string();
        Server {
            child,
            output,
            address,
        }
    }

    /// Ends it as the benchmark does; returns what it printed.
    fn stop(mut self) -> String {
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        assert!(self.child.wait().unwrap().success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        rest
    }
}

fn client(address: &str, words: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .args(["client", "--connect", address, "--json"])
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The first number behind `name` in the object.
fn number(json: &str, name: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap();
    rest[..rest.find([',', '}']).unwrap()].parse().unwrap()
}

#[test]
fn bulk_arrives_whole_with_and_without_sealing() {
    for (mode, payload) in [("udp", 1436.0), ("udp-aead", 1420.0)] {
        let server = Server::start();
        let json = client(&server.address, &["--mode", mode, "--bytes", "20000000"]);
        let datagrams = f64::ceil(20e6 / payload);
        assert_eq!(number(&json, "bytes"), datagrams * payload, "{json}");
        assert_eq!(number(&json, "datagrams_lost"), 0.0, "{json}");
        // The question that begins the run and the one that ends it come on top.
        assert_eq!(number(&json, "datagrams_sent"), datagrams + 2.0, "{json}");
        assert!(datagrams / number(&json, "udp_send_calls") > 20.0, "{json}");
        let printed = server.stop();
        assert!(json.contains(printed.trim()), "{printed} in {json}");
        assert_eq!(
            number(&printed, "datagrams_received"),
            datagrams + 1.0,
            "{printed}"
        );
    }
}

#[test]
fn pings_come_back() {
    let server = Server::start();
    let json = client(&server.address, &["--mode", "pingpong", "--secs", "0.05"]);
    assert!(number(&json, "operations") > 10.0, "{json}");
    assert!(number(&json, "p50_us") <= number(&json, "p99_us"), "{json}");
    assert_eq!(number(&server.stop(), "datagrams_lost"), 0.0);
}

#[test]
fn one_server_serves_one_client_after_the_other() {
    let server = Server::start();
    for _ in 0..3 {
        let json = client(&server.address, &["--mode", "udp", "--bytes", "1"]);
        assert_eq!(number(&json, "bytes"), 1436.0);
    }
    assert_eq!(server.stop().lines().count(), 3);
}

#[test]
fn wrong_words_end_with_2_and_say_why() {
    let output = Command::new(PROGRAM)
        .args(["client", "--connect", "nowhere"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr)
        .unwrap()
        .contains("--connect nowhere"));
}
