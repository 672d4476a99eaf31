//! Whole lives of kclpipe in virtual time: the daemon, the handlers and the judge are this program's, everything
//! between them is the product's. `cargo run --release --example simulate -- --seeds 0..200000` runs more of them.

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

use coverage::{Coverage, NAMED};
use draw::Draw;

const LIVES: u64 = 3_200;

#[test]
fn no_life_breaks_a_rule_and_every_named_state_is_reached() {
    // A panic in a life is told with its transcript.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let halves = [0..LIVES / 2, LIVES / 2..LIVES];
    let runs = halves.map(|seeds| std::thread::spawn(move || life::run(seeds)));
    let runs = runs.map(|run| run.join());
    std::panic::set_hook(hook);
    let mut seen = Coverage::default();
    for run in runs {
        match run.expect("a thread") {
            Ok(reached) => seen.add(&reached),
            Err(report) => panic!("{report}"),
        }
    }
    let rare = NAMED.iter().filter(|state| seen.of(state) * 100 < LIVES);
    let rare: Vec<String> = rare
        .map(|state| format!("{state}: {} of {LIVES} lives", seen.of(state)))
        .collect();
    assert!(
        rare.is_empty(),
        "states that too few lives reach:\n{}",
        rare.join("\n")
    );
}

#[test]
fn the_same_seed_is_the_same_life() {
    for seed in 0..20 {
        let draw = Draw::new(seed);
        assert_eq!(
            life::live(&draw, true).transcript,
            life::live(&draw, true).transcript,
            "seed {seed}"
        );
    }
}
