//! Tests of the border and of the facts about quiche that the engine relies on.

pub mod provoked;
