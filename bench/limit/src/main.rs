//! What the machine can do with datagrams of QUIC's size and no transport at all: the floor under every figure.
//!
//! Two processes. `udp` sends datagrams of 1,452 bytes by GSO and takes them by GRO; `udp-aead` seals and opens each
//! with AES-128-GCM besides; `pingpong` sends 512 bytes to and fro, one at a time. The only control is a window, so that
//! the receiver's socket buffer is not overrun.

mod client;
mod report;
mod seal;
mod server;
mod socket;
mod sys;
mod wire;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use client::Load;
use wire::Mode;

const USAGE: &str = "riffle-limit server --listen ADDR:PORT
riffle-limit client --connect ADDR:PORT --mode udp|udp-aead|pingpong [--bytes N] [--secs T] [--json]

The client sends; --bytes counts what is in the datagrams behind their headers (udp, udp-aead), --secs is for pingpong.
Each end prints one JSON object for each run (the client a line for people, without --json).";

type AnyError = Box<dyn Error>;

fn main() {
    if let Err(error) = run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        eprintln!("riffle-limit: {error}");
        std::process::exit(2);
    }
}

fn run(words: &[String]) -> Result<(), AnyError> {
    match words.first().map(String::as_str) {
        Some("server") => {
            let options = Options::parse(&words[1..])?;
            server::run(options.address("--listen")?)?;
            Ok(())
        }
        Some("client") => {
            let options = Options::parse(&words[1..])?;
            let load = options.load()?;
            let report = client::run(options.address("--connect")?, &load)?;
            println!(
                "{}",
                if options.json {
                    report.to_json()
                } else {
                    report.to_text()
                }
            );
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

#[derive(Default)]
struct Options {
    pairs: Vec<(String, String)>,
    json: bool,
}

impl Options {
    fn parse(words: &[String]) -> Result<Options, AnyError> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--json" => options.json = true,
                "--listen" | "--connect" | "--mode" | "--bytes" | "--secs" => {
                    let value = words
                        .next()
                        .ok_or_else(|| format!("{word} needs a value"))?;
                    options.pairs.push((word.clone(), value.clone()));
                }
                _ => return Err(format!("{word} is not an option here\n\n{USAGE}").into()),
            }
        }
        Ok(options)
    }

    fn text(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().rev().find(|(key, _)| key == name)?;
        Some(&found.1)
    }

    fn address(&self, name: &str) -> Result<SocketAddr, AnyError> {
        let text = self
            .text(name)
            .ok_or_else(|| format!("{name} ADDR:PORT is needed\n\n{USAGE}"))?;
        text.parse()
            .map_err(|_| format!("{name} {text}: a numeric address with a port is needed").into())
    }

    fn load(&self) -> Result<Load, AnyError> {
        let mode = self.text("--mode").unwrap_or("udp");
        let mode = Mode::from_name(mode)
            .ok_or_else(|| format!("--mode {mode}: udp, udp-aead or pingpong"))?;
        let bytes = self.text("--bytes").map_or(Ok(1 << 30), str::parse);
        let secs = self.text("--secs").map_or(Ok(5.0), str::parse::<f64>);
        Ok(Load {
            mode,
            bytes: bytes
                .ok()
                .filter(|n| *n > 0)
                .ok_or("--bytes: a whole number above 0 is needed")?,
            duration: secs
                .ok()
                .filter(|s| s.is_finite() && *s > 0.0)
                .map(Duration::from_secs_f64)
                .ok_or("--secs: a number above 0 is needed")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(words: &[&str]) -> Result<Load, String> {
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        let options = Options::parse(&words).map_err(|error| error.to_string())?;
        options.load().map_err(|error| error.to_string())
    }

    #[test]
    fn the_last_of_an_option_given_twice_counts() {
        assert_eq!(load(&["--bytes", "1", "--bytes", "7"]).unwrap().bytes, 7);
    }

    #[test]
    fn bad_options_are_said_by_name() {
        for (words, said) in [
            (vec!["--speed", "1"], "--speed"),
            (vec!["--bytes"], "--bytes needs"),
            (vec!["--bytes", "0"], "--bytes"),
            (vec!["--secs", "nan"], "--secs"),
            (vec!["--mode", "tcp"], "--mode tcp"),
        ] {
            let error = load(&words).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
