//! The command line: `--name value` pairs after the role.

use std::collections::HashMap;
use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::client::{Load, Mode};

type AnyError = Box<dyn Error>;

pub const USAGE: &str = "riffle-bare server --listen ADDR:PORT [--json]
riffle-bare client --connect ADDR:PORT --mode download|upload|rps|hps [--bytes N] [--streams S]
                   [--req-bytes N] [--resp-bytes N] [--concurrency C] [--secs T] [--json]

A bare loop over quiche that speaks the QUIC perf protocol (ALPN perf): the limit line of riffle's benchmarks.
--bytes is the sum over all streams; a request is 8 bytes of header and then --req-bytes.
The server makes a certificate for the run, prints `listening ADDR:PORT`, and a report when SIGTERM ends it.";

pub struct Args(HashMap<String, String>);

impl Args {
    /// Takes `--name value`; the names in `flags` have no value.
    pub fn parse(words: &[String], names: &[&str], flags: &[&str]) -> Result<Args, AnyError> {
        let mut found = HashMap::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").unwrap_or("");
            if flags.contains(&name) {
                found.insert(name.to_string(), String::new());
            } else if names.contains(&name) {
                let value = words
                    .next()
                    .ok_or_else(|| format!("{word} needs a value"))?;
                found.insert(name.to_string(), value.clone());
            } else {
                return Err(format!("{word} is not an option here\n\n{USAGE}").into());
            }
        }
        Ok(Args(found))
    }

    pub fn has(&self, flag: &str) -> bool {
        self.0.contains_key(flag)
    }

    pub fn address(&self, name: &str) -> Result<SocketAddr, AnyError> {
        let text = self
            .0
            .get(name)
            .ok_or_else(|| format!("--{name} ADDR:PORT is needed\n\n{USAGE}"))?;
        let mut found = text
            .to_socket_addrs()
            .map_err(|error| format!("--{name} {text}: {error}"))?;
        found
            .next()
            .ok_or_else(|| format!("--{name} {text}: no address").into())
    }

    fn number(&self, name: &str, default: u64, least: u64) -> Result<u64, AnyError> {
        let Some(text) = self.0.get(name) else {
            return Ok(default);
        };
        match text.parse() {
            Ok(value) if value >= least => Ok(value),
            _ => {
                Err(format!("--{name} {text}: a whole number of at least {least} is needed").into())
            }
        }
    }

    pub fn load(&self) -> Result<Load, AnyError> {
        let mode = match self.0.get("mode").map(String::as_str) {
            Some("download") => Mode::Download,
            Some("upload") => Mode::Upload,
            Some("rps") => Mode::Requests,
            Some("hps") => Mode::Handshakes,
            other => {
                return Err(format!(
                    "--mode {}: download, upload, rps or hps",
                    other.unwrap_or("?")
                )
                .into())
            }
        };
        let secs = self
            .0
            .get("secs")
            .map_or(Ok(5.0), |text| text.parse::<f64>());
        let secs = secs
            .ok()
            .filter(|s| s.is_finite() && *s > 0.0)
            .ok_or("--secs: a number above 0 is needed")?;
        Ok(Load {
            mode,
            bytes: self.number("bytes", 1 << 30, 1)?,
            streams: self.number("streams", 1, 1)?,
            request_bytes: self.number("req-bytes", 512, 0)? as usize,
            response_bytes: self.number("resp-bytes", 512, 0)?,
            concurrency: self.number(
                "concurrency",
                if mode == Mode::Handshakes { 16 } else { 64 },
                1,
            )?,
            duration: Duration::from_secs_f64(secs),
        })
    }
}
