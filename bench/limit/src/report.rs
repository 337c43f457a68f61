//! What a run prints: one JSON object, or a line for people.

use std::fmt::Write;

use crate::socket::Counts;
use crate::wire::Mode;

pub struct Report {
    pub role: &'static str,
    pub mode: Mode,
    /// What was in the datagrams that arrived, behind their headers.
    pub bytes: u64,
    pub seconds: f64,
    /// Of this process.
    pub cpu_seconds: f64,
    pub counts: Counts,
    /// Bulk datagrams that were sent and did not arrive; the receiving end knows.
    pub lost: u64,
    /// Round trips, in nanoseconds, sorted; empty in bulk.
    pub round_trips: Vec<u64>,
    /// The other end's object.
    pub server: Option<String>,
}

impl Report {
    pub fn to_json(&self) -> String {
        let c = &self.counts;
        let mut out = format!(
            "{{\"role\":\"{}\",\"mode\":\"{}\",\"bytes\":{},\"seconds\":{:.6},\"gbps\":{:.4},\"cpu_seconds\":{:.6},",
            self.role,
            self.mode.name(),
            self.bytes,
            self.seconds,
            self.gbps(),
            self.cpu_seconds
        );
        if !self.round_trips.is_empty() {
            let count = self.round_trips.len();
            let _ = write!(
                out,
                "\"operations\":{count},\"per_second\":{:.1},\"p50_us\":{:.2},\"p99_us\":{:.2},\"p999_us\":{:.2},",
                count as f64 / self.seconds,
                self.microseconds(0.5),
                self.microseconds(0.99),
                self.microseconds(0.999)
            );
        }
        let _ = write!(
            out,
            "\"datagrams_sent\":{},\"datagrams_received\":{},\"udp_send_calls\":{},\"udp_receive_calls\":{},\"datagrams_lost\":{}",
            c.datagrams_sent, c.datagrams_received, c.send_calls, c.receive_calls, self.lost
        );
        if let Some(server) = &self.server {
            let _ = write!(out, ",\"server\":{server}");
        }
        out.push('}');
        out
    }

    pub fn to_text(&self) -> String {
        let rate = if self.round_trips.is_empty() {
            format!(
                "{} bytes in {:.3} s, {:.2} Gbit/s",
                self.bytes,
                self.seconds,
                self.gbps()
            )
        } else {
            format!(
                "{} round trips, p50 {:.2} us, p99 {:.2} us",
                self.round_trips.len(),
                self.microseconds(0.5),
                self.microseconds(0.99)
            )
        };
        format!(
            "{}: {rate}, {:.3} s CPU, {} lost",
            self.mode.name(),
            self.cpu_seconds,
            self.lost
        )
    }

    fn gbps(&self) -> f64 {
        if self.seconds > 0.0 {
            self.bytes as f64 * 8e-9 / self.seconds
        } else {
            0.0
        }
    }

    /// The round trip that a share of `quantile` does not exceed.
    fn microseconds(&self, quantile: f64) -> f64 {
        let rank = (self.round_trips.len() as f64 * quantile).ceil().max(1.0) as usize;
        self.round_trips[rank - 1] as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(round_trips: Vec<u64>) -> Report {
        Report {
            role: "client",
            mode: Mode::PingPong,
            bytes: 1_000_000_000,
            seconds: 2.0,
            cpu_seconds: 0.5,
            counts: Counts::default(),
            lost: 0,
            round_trips,
            server: Some("{\"cpu_seconds\":1}".into()),
        }
    }

    #[test]
    fn quantiles_are_ranks() {
        let report = report((1..=1000).map(|us| us * 1000).collect());
        assert_eq!(report.microseconds(0.5), 500.0);
        assert_eq!(report.microseconds(0.99), 990.0);
        assert_eq!(report.microseconds(0.0), 1.0);
    }

    #[test]
    fn the_object_has_what_the_harness_reads() {
        let json = report(vec![1500]).to_json();
        for part in [
            "\"bytes\":1000000000",
            "\"gbps\":4.0000",
            "\"operations\":1",
            "\"p50_us\":1.50",
            "\"server\":{\"cpu_seconds\":1}}",
        ] {
            assert!(json.contains(part), "{part} in {json}");
        }
        assert!(!report(vec![]).to_json().contains("p50_us"));
    }
}
