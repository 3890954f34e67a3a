#![doc = include_str!("ARCHITECTURE.md")]

pub mod admin;
pub mod cli;
pub mod config;
pub mod control;
pub mod explain;
pub mod gateway;
pub mod http;
pub mod issuers;
pub mod jwt;
pub mod mail;
pub mod model;
pub mod password;
pub mod policy;
pub mod server;
pub mod store;
pub mod telemetry;
