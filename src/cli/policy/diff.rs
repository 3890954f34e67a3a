use std::process::ExitCode;

use super::matrix::table;
use super::source::Source;
use crate::cli::output::{print, print_json};
use crate::config::Settings;
use crate::model::Timestamp;
use crate::policy::{Changed, Difference, Opened, Turn, difference};

/// The exit code when they differ.
const DIFFERS: u8 = 3;

/// Exits with 3 when access differs.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Rules that `policy show --json` has written, or `live` for those of the database
    a: String,
    /// The rules that they are compared with
    b: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let before = Source::named(&args.a).snapshot(settings).await?;
    let after = Source::named(&args.b).snapshot(settings).await?;
    let difference = difference(&before, &after, Timestamp::now());
    if args.json {
        print_json(&difference)?;
    } else if !difference.is_empty() {
        print(&told(&difference))?;
    }
    Ok(if difference.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

/// A line for each cell and policy, and one for users.
fn told(difference: &Difference) -> String {
    let mut lines: Vec<Vec<String>> = Vec::new();
    let cells = [
        ("gained", &difference.gained),
        ("lost", &difference.lost),
        ("narrowed", &difference.narrowed),
        ("widened", &difference.widened),
    ];
    for (word, list) in cells {
        lines.extend(list.iter().map(|cell| row(word, cell)));
    }
    let anonymous = [("gained", &difference.anonymous.gained), ("lost", &difference.anonymous.lost)];
    for (word, list) in anonymous {
        lines.extend(list.iter().map(|opened| nobody(word, opened)));
    }
    let mut told = if lines.is_empty() { Vec::new() } else { vec![table(&lines)] };
    told.extend(difference.conditional.iter().map(|change| {
        let word = match change.change {
            Turn::Added => "added",
            Turn::Removed => "removed",
            Turn::Changed => "changed",
        };
        format!("{word} {}, which is conditional", change.policy)
    }));
    let users = difference.users;
    told.push(format!("users by operations: {} gained, {} lost", users.gained, users.lost));
    told.extend(difference.truncated.then(|| "there is more than is listed or counted".to_owned()));
    told.join("\n")
}

fn row(word: &str, cell: &Changed) -> Vec<String> {
    let asks = cell.permission.as_deref().unwrap_or_default();
    [word, &cell.role, &cell.method, &cell.route, asks].map(str::to_owned).to_vec()
}

fn nobody(word: &str, opened: &Opened) -> Vec<String> {
    [word, "(without a token)", &opened.method, &opened.route, ""].map(str::to_owned).to_vec()
}
