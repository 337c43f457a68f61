//! What a run prints: one JSON object, or a line for people.

use std::fmt::Write;
use std::time::Duration;

use crate::socket::Counts;
use crate::sys;

/// Counts durations with three digits: 1024 steps in each power of two of nanoseconds.
pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

const STEP_BITS: u32 = 10;

impl Histogram {
    pub fn new() -> Histogram {
        Histogram {
            counts: vec![0; (64 - STEP_BITS as usize) << STEP_BITS],
            total: 0,
        }
    }

    pub fn add(&mut self, duration: Duration) {
        let value = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let last = self.counts.len() - 1;
        self.counts[index_of(value).min(last)] += 1;
        self.total += 1;
    }

    /// The value in microseconds below which a share of `quantile` lies.
    pub fn microseconds(&self, quantile: f64) -> f64 {
        let wanted = (self.total as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return value_of(index) as f64 / 1000.0;
            }
        }
        0.0
    }
}

fn index_of(value: u64) -> usize {
    let shift = (64 - STEP_BITS)
        .saturating_sub(value.leading_zeros())
        .saturating_sub(1);
    ((u64::from(shift) << STEP_BITS) + (value >> shift)) as usize
}

/// The smallest value that falls on `index`.
fn value_of(index: usize) -> u64 {
    let step = 1u64 << STEP_BITS;
    let index = index as u64;
    if index < 2 * step {
        return index;
    }
    let shift = index / step - 1;
    (index - shift * step) << shift
}

pub struct Report<'a> {
    pub mode: &'a str,
    pub bytes: u64,
    /// Requests or handshakes; none in the bulk modes.
    pub operations: Option<u64>,
    pub seconds: f64,
    pub latency: Option<&'a Histogram>,
    pub counts: &'a Counts,
}

impl Report<'_> {
    pub fn print(&self, json: bool) {
        let line = if json { self.to_json() } else { self.to_text() };
        println!("{line}");
    }

    fn to_json(&self) -> String {
        let (cpu, rss) = sys::usage();
        let mut out = String::from("{");
        let _ = write!(
            out,
            "\"mode\":\"{}\",\"bytes\":{},\"seconds\":{:.6},",
            self.mode, self.bytes, self.seconds
        );
        let _ = match self.operations {
            Some(count) => write!(
                out,
                "\"operations\":{count},\"per_second\":{:.1},",
                count as f64 / self.seconds
            ),
            None => write!(out, "\"gbps\":{:.4},", self.gbps()),
        };
        let _ = write!(out, "\"cpu_seconds\":{cpu:.6},");
        for (name, quantile) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)] {
            let _ = match self.latency {
                Some(latency) => write!(out, "\"{name}\":{:.2},", latency.microseconds(quantile)),
                None => write!(out, "\"{name}\":null,"),
            };
        }
        let c = self.counts;
        let _ = write!(
            out,
            "\"datagrams_sent\":{},\"datagrams_received\":{},",
            c.datagrams_sent, c.datagrams_received
        );
        let _ = write!(
            out,
            "\"udp_send_calls\":{},\"udp_receive_calls\":{},",
            c.send_calls, c.receive_calls
        );
        let _ = write!(out, "\"max_rss_kb\":{rss}}}");
        out
    }

    fn to_text(&self) -> String {
        let (cpu, _) = sys::usage();
        let rate = match self.operations {
            Some(count) => format!(
                "{count} operations, {:.0} a second",
                count as f64 / self.seconds
            ),
            None => format!("{:.2} Gbit/s", self.gbps()),
        };
        let latency = self.latency.map_or(String::new(), |latency| {
            format!(
                ", p50 {:.1} us, p99 {:.1} us",
                latency.microseconds(0.5),
                latency.microseconds(0.99)
            )
        });
        format!(
            "{}: {} bytes in {:.3} s, {rate}, {cpu:.3} s CPU{latency}",
            self.mode, self.bytes, self.seconds
        )
    }

    fn gbps(&self) -> f64 {
        self.bytes as f64 * 8e-9 / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_on_a_step_that_keeps_three_digits() {
        let values = (0..5000).chain(
            (12..60).flat_map(|bits| [1u64 << bits, (1 << bits) + 1, (1 << bits) * 3 / 2 + 7]),
        );
        for value in values {
            let low = value_of(index_of(value));
            assert!(
                low <= value && value - low <= value / 1024,
                "{value} became {low}"
            );
        }
    }

    #[test]
    fn quantiles_of_a_uniform_load_are_where_they_must_be() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|us| histogram.add(Duration::from_micros(us)));
        assert!((histogram.microseconds(0.5) - 500.0).abs() < 0.5);
        assert!((histogram.microseconds(0.999) - 999.0).abs() < 1.0);
    }
}
