//! riffle-bare: the limit line of riffle's benchmarks. One thread, one socket, quiche's Rust API with zero-copy sends
//! and real read buffers, no queues between anything. It speaks the QUIC perf protocol (ALPN `perf`) at either end.

mod args;
mod block;
mod client;
mod config;
mod engine;
mod report;
mod server;
mod socket;
mod streams;
mod sys;

use std::error::Error;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Instant;

use args::{Args, USAGE};
use client::{Client, Mode};
use engine::Engine;
use report::Report;
use server::Server;
use socket::Socket;

const CLIENT_OPTIONS: &[&str] = &[
    "connect",
    "mode",
    "bytes",
    "streams",
    "req-bytes",
    "resp-bytes",
    "concurrency",
    "secs",
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.first().map(String::as_str) {
        Some("server") => run_server(&words[1..]),
        Some("client") => run_client(&words[1..]),
        Some("--help" | "-h") => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("server or client?\n\n{USAGE}").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("riffle-bare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_server(words: &[String]) -> Result<(), Box<dyn Error>> {
    let args = Args::parse(words, &["listen"], &["json"])?;
    sys::catch_stop_signals();
    let socket = Socket::open(args.address("listen")?, None)?;
    println!("listening {}", socket.local);
    std::io::stdout().flush()?;
    let began = Instant::now();
    let mut engine = Engine::new(
        Server::new(block::make_payload()),
        socket,
        config::server()?,
        true,
    );
    engine.run(None)?;
    let report = Report {
        mode: "server",
        bytes: engine.app.bytes,
        operations: Some(engine.app.streams),
        seconds: began.elapsed().as_secs_f64(),
        latency: None,
        counts: &engine.socket.counts,
    };
    report.print(true);
    Ok(())
}

fn run_client(words: &[String]) -> Result<(), Box<dyn Error>> {
    let args = Args::parse(words, CLIENT_OPTIONS, &["json"])?;
    let peer = args.address("connect")?;
    let load = args.load()?;
    sys::catch_stop_signals();
    let local: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = Socket::open(local, Some(peer))?;
    let (mode, bulk_bytes) = (load.mode, load.bytes);
    let request_bytes = 8 + load.request_bytes as u64 + load.response_bytes;
    let mut engine = Engine::new(
        Client::new(load, block::make_payload()),
        socket,
        config::client()?,
        false,
    );
    engine.run(Some(peer))?;
    let client = &engine.app;
    if client.seconds() == 0.0 {
        return Err(format!("{peer} did not answer").into());
    }
    let (name, bytes, operations) = match mode {
        Mode::Download => ("download", bulk_bytes, None),
        Mode::Upload => ("upload", bulk_bytes, None),
        Mode::Requests => (
            "rps",
            client.operations * request_bytes,
            Some(client.operations),
        ),
        Mode::Handshakes => ("hps", client.operations, Some(client.operations)),
    };
    let report = Report {
        mode: name,
        bytes,
        operations,
        seconds: client.seconds(),
        latency: operations.is_some().then_some(&client.latency),
        counts: &engine.socket.counts,
    };
    report.print(args.has("json"));
    Ok(())
}
