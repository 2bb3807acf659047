//! Breaks a stack of Tasker in every way that we know, and proves that nothing was lost.

pub mod consistency;
