//! Runs simulated lives: `cargo run --release --example simulate -- --seeds FROM..TO [--coverage | --survey]`.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a judge names what it has a rule for"
)]

mod coverage;
mod daemon;
mod draw;
mod handlers;
mod judge;
mod life;
mod script;
mod slots;
mod world;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;

use draw::Draw;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(seeds) = seeds(&arguments) else {
        let _ = writeln!(
            io::stderr(),
            "usage: simulate --seeds FROM..TO [--coverage | --survey]"
        );
        return ExitCode::from(64);
    };
    std::panic::set_hook(Box::new(|_| {}));
    let lives = seeds.end.saturating_sub(seeds.start);
    if arguments.iter().any(|argument| argument == "--survey") {
        return survey(seeds);
    }
    match life::run(seeds) {
        Ok(seen) => {
            let mut out = io::stdout();
            if arguments.iter().any(|argument| argument == "--coverage") {
                for state in coverage::NAMED {
                    let _ = writeln!(out, "{:>8} {state}", seen.of(state));
                }
            }
            let _ = writeln!(out, "{lives} lives, 0 broken");
            ExitCode::SUCCESS
        }
        Err(report) => {
            let _ = write!(io::stdout(), "{report}");
            ExitCode::FAILURE
        }
    }
}

fn seeds(arguments: &[String]) -> Option<Range<u64>> {
    let place = arguments
        .iter()
        .position(|argument| argument == "--seeds")?;
    let (from, to) = arguments.get(place + 1)?.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}

/// Which rules are broken, how often, and by which seed first.
fn survey(seeds: Range<u64>) -> ExitCode {
    let mut rules: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for seed in seeds {
        if let Some(broken) = life::live(&Draw::new(seed), false).broken {
            let rule = broken
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .take(100)
                .collect();
            rules.entry(rule).or_insert((seed, 0)).1 += 1;
        }
    }
    for (rule, (seed, lives)) in &rules {
        let _ = writeln!(io::stdout(), "{lives:>6} lives, first {seed}: {rule}");
    }
    ExitCode::from(u8::from(!rules.is_empty()))
}
