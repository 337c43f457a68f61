//! Tests of the border and of the facts about quiche that the engine relies on.

mod batches;
mod certificates;
mod configuration;
mod connection;
mod facts;
mod lone_fins;
mod observing;
pub mod provoked;
mod rig;
mod stack;
mod streams;
