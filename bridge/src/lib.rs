//! The bridge: a small C ABI over quiche's Rust API, shaped for riffle's engine (few calls a cycle,
//! batches, zero-copy sends, reasons as values). The contract of each function stands in
//! `include/riffle_bridge.h`.
//!
//! Threads: a configuration and its connections belong to one thread. No call blocks; none enters
//! the engine but by the two functions given to `rqb_init`, which must not call back.

#![allow(non_camel_case_types)]

pub mod abi;
mod buffers;
mod certificates;
mod clock;
pub mod config;
pub mod connection;
mod evidence;
pub mod fault;
mod lone_fins;
pub mod observe;
pub mod sending;
pub mod stack;
pub mod streams;
mod trust;

#[cfg(riffle_seeded)]
pub mod seeded;

#[cfg(test)]
mod tests;
