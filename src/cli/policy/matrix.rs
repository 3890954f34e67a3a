use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use super::source::Source;
use crate::cli::output::{print, print_json};
use crate::config::Settings;
use crate::policy::{Cell, MatrixBy, MatrixFilter, matrix};

/// A line for each cell, in an order that stays, so that two versions of it can be compared.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// What stands beside the roles
    #[arg(long, value_enum, default_value_t = By::Permission)]
    by: By,
    /// As comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum By {
    Permission,
    Operation,
}

/// A file for review has everything.
const EVERYTHING: (usize, usize, usize) = (0, usize::MAX, usize::MAX);

pub(super) async fn run(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let snapshot = args.source.snapshot(settings).await?;
    let (by, heads): (_, &[&str]) = match args.by {
        By::Permission => (MatrixBy::Permission, &["role", "permission", "grant"]),
        By::Operation => (MatrixBy::Operation, &["role", "route_id", "route", "method", "grant"]),
    };
    let cells = matrix(snapshot.compiled(), by, &MatrixFilter::default(), EVERYTHING).cells;
    if args.json {
        print_json(&json!({ "policy_revision": snapshot.policy_revision(), "cells": cells }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(heads).chain(cells.iter().map(columns)).collect();
    print(&if args.csv { csv(&lines)? } else { table(&lines) })?;
    Ok(ExitCode::SUCCESS)
}

fn columns(cell: &Cell) -> Vec<String> {
    let texts = [cell.route.as_deref(), cell.method.as_deref(), cell.permission.as_deref()];
    let id = cell.route_id.map(|id| id.to_string());
    let what = id.into_iter().chain(texts.into_iter().flatten().map(str::to_owned));
    std::iter::once(cell.role.to_string()).chain(what).chain([cell.grant.as_str().to_owned()]).collect()
}

fn csv(lines: &[Vec<String>]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.write_record(line).context("cannot write the matrix")?;
    }
    let bytes = writer.into_inner().context("cannot write the matrix")?;
    Ok(String::from_utf8(bytes).context("cannot write the matrix")?.trim_end().to_owned())
}

/// Columns as wide as what stands in them.
pub(super) fn table(lines: &[Vec<String>]) -> String {
    let count = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}
