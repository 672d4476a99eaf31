//! The shards as a table for a person: one a line, fitted to the width of a terminal.

use std::fmt::Write;
use std::time::Duration;

use humantime::format_duration;

use super::standing::{Shard, Standing};
use crate::clean;
use crate::plural::plural;

/// How a table looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether there are colours.
    pub(crate) colored: bool,
    /// How many characters a line may have.
    pub(crate) width: Option<usize>,
}

/// The table, with a line below it that sums up.
pub(crate) fn table(shards: &[Shard], style: Style) -> String {
    if shards.is_empty() {
        return String::new();
    }
    let several = shards.iter().any(|s| s.state.name != shards[0].state.name);
    let header: Vec<String> = HEADER
        .iter()
        .skip(usize::from(!several))
        .map(|title| (*title).to_owned())
        .collect();
    let rows = shards.iter().map(|shard| row(shard, several));
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let widths = widths(&rows);
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let line = fitted(&aligned(row, &widths), style.width);
        let color = match at {
            0 => Some(BOLD),
            _ => color(shards[at - 1].standing),
        };
        let _ = match color.filter(|_| style.colored) {
            Some(color) => writeln!(text, "{color}{line}{PLAIN}"),
            None => writeln!(text, "{line}"),
        };
    }
    text + &sum(shards) + "\n"
}

const HEADER: [&str; 10] = [
    "APPLICATION",
    "STATE",
    "SHARD",
    "PID",
    "BEHIND",
    "RECORDS/S",
    "IN FLIGHT",
    "HELD",
    "CHECKPOINT",
    "WHY",
];

/// A wait that is shorter is the limit at work, and nothing to look into.
const WORTH_SAYING: Duration = Duration::from_secs(1);

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

fn color(standing: Standing) -> Option<&'static str> {
    match standing {
        Standing::Gone | Standing::Blocked => Some(RED),
        Standing::Stale => Some(YELLOW),
        Standing::Well | Standing::Complete => None,
    }
}

fn row(shard: &Shard, several: bool) -> Vec<String> {
    let state = &shard.state;
    let cells = [
        clean::line(&state.name).into_owned(),
        standing(shard),
        clean::line(&state.shard_id).into_owned(),
        state.pid.to_string(),
        shard.behind.map_or("-".to_owned(), shown),
        format!("{:.1}", state.records_per_second),
        state.in_flight.to_string(),
        state.held_records.to_string(),
        shard
            .checkpoint
            .map_or("-".to_owned(), |age| format!("{} ago", shown(age))),
        why(shard),
    ];
    cells.into_iter().skip(usize::from(!several)).collect()
}

fn standing(shard: &Shard) -> String {
    let name = shard.standing.name();
    match shard.standing {
        Standing::Gone | Standing::Stale => format!("{name} {}", shown(shard.age)),
        Standing::Blocked => format!("{name} {}", shown(shard.blocked.unwrap_or_default())),
        Standing::Well | Standing::Complete => name.to_owned(),
    }
}

/// The record that blocks, what a handler waits for, and the handler's last words.
fn why(shard: &Shard) -> String {
    let mut parts = Vec::new();
    if let Some(blocked) = &shard.state.blocked {
        parts.push(format!(
            "record {}.{}, {}",
            clean::line(&blocked.sequence_number),
            blocked.sub_sequence_number,
            plural(u64::from(blocked.attempts), "attempt")
        ));
    }
    parts.extend(held_up(shard));
    // Of a shard that is well it is of the past.
    let failure = shard.state.last_failure.as_ref();
    if let Some(failure) = failure.filter(|_| shard.standing < Standing::Well) {
        parts.push(clean::line(&failure.ended).into_owned());
        if !failure.stderr.is_empty() {
            parts.push(clean::line(&failure.stderr).into_owned());
        }
    }
    parts.join(": ")
}

/// What a handler that could start waits for, where that takes longer than the next look.
fn held_up(shard: &Shard) -> Option<String> {
    let time = shard.throttled.filter(|time| *time >= WORTH_SAYING)?;
    let limit = shard.state.throttled.as_ref()?.limit;
    let lives = shard.standing != Standing::Gone;
    lives.then(|| format!("waits for {} {}", limit.awaited(), shown(time)))
}

/// A time in at most two units, so that columns stay narrow.
fn shown(time: Duration) -> String {
    let seconds = match time.as_secs() {
        0..60 => return format!("{:.1}s", time.as_secs_f64()),
        seconds @ 60..3600 => seconds,
        seconds @ 3600..86400 => seconds / 60 * 60,
        seconds => seconds / 3600 * 3600,
    };
    format_duration(Duration::from_secs(seconds)).to_string()
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = 0..rows[0].len();
    let of_column = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    columns.map(|at| of_column(at).unwrap_or(0)).collect()
}

fn aligned(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths);
    let line = cells.fold(String::new(), |mut line, (cell, width)| {
        let _ = write!(line, "{cell:<width$}  ");
        line
    });
    line.trim_end().to_owned()
}

/// The line, cut off where it would not fit.
fn fitted(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            let kept = line.chars().take(width.saturating_sub(1));
            kept.chain(['…']).collect()
        }
        _ => line.to_owned(),
    }
}

fn sum(shards: &[Shard]) -> String {
    let all = [
        Standing::Gone,
        Standing::Blocked,
        Standing::Stale,
        Standing::Well,
        Standing::Complete,
    ];
    let counts = all.map(|of| (of, shards.iter().filter(|s| s.standing == of).count()));
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(of, count)| format!("{count} {}", of.name()))
        .collect();
    format!(
        "{}: {}",
        plural(shards.len() as u64, "shard"),
        counts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::super::standing::tests::{blocked, shard, state};
    use super::*;
    use crate::shard_state::{LastFailure, ShardState, Throttled};
    use crate::throttle::Throttle;

    const PLAIN_STYLE: Style = Style {
        colored: false,
        width: None,
    };

    fn shards() -> [Shard; 2] {
        let stuck = ShardState {
            last_failure: Some(LastFailure {
                ended: "exit code 1".to_owned(),
                stderr: "no \x1b[31mroute".to_owned(),
            }),
            ..blocked("shardId-1", 400)
        };
        [
            shard(stuck, false, 1000),
            shard(state("shardId-2"), false, 1000),
        ]
    }

    #[test]
    fn a_shard_is_a_line_with_the_record_that_blocks_and_the_last_words() {
        let expected = "\
STATE        SHARD      PID   BEHIND  RECORDS/S  IN FLIGHT  HELD  CHECKPOINT  WHY
blocked 10m  shardId-1  4711  0.5s    12.0       1          3     40.0s ago   record 77.1, 9 attempts: exit code 1: no \u{fffd}[31mroute
well         shardId-2  4711  0.5s    12.0       1          3     40.0s ago
2 shards: 1 blocked, 1 well
";
        assert_eq!(table(&shards(), PLAIN_STYLE), expected);
        assert_eq!(table(&[], PLAIN_STYLE), "");
    }

    #[test]
    fn a_shard_that_waits_for_a_slot_says_so() {
        let waits = |limit, since| ShardState {
            throttled: Some(Throttled { limit, since }),
            ..state("shardId-0")
        };
        let shown = |state| why(&shard(state, false, 1000));
        let slot = waits(Throttle::HostJobs, 910_000);
        assert_eq!(shown(slot.clone()), "waits for a slot 1m 30s");
        assert_eq!(
            shown(waits(Throttle::Rate, 998_000)),
            "waits for its rate 2.0s"
        );
        assert_eq!(shown(waits(Throttle::Rate, 999_500)), "");
        assert_eq!(why(&shard(slot, true, 1000)), "");
    }

    #[test]
    fn a_terminal_has_colours_and_lines_that_fit() {
        let style = Style {
            colored: true,
            width: Some(60),
        };
        let text = table(&shards(), style);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("\x1b[31mblocked") && lines[1].ends_with("…\x1b[0m"));
        assert_eq!(lines[1].chars().count(), 60 + RED.len() + PLAIN.len());
        assert!(lines[2].starts_with("well"), "{text}");
        assert_eq!(fitted("well", Some(4)), "well");
        assert_eq!(fitted("well", Some(3)), "we…");
        assert_eq!(fitted("well", None), "well");
    }

    #[test]
    fn a_time_has_at_most_two_units() {
        let shown = |seconds| shown(Duration::from_secs(seconds));
        assert_eq!(shown(59), "59.0s");
        assert_eq!(shown(61), "1m 1s");
        assert_eq!(shown(3_600 + 2 * 60 + 3), "1h 2m");
        assert_eq!(shown(26 * 3_600 + 2 * 60), "1day 2h");
    }

    #[test]
    fn several_applications_have_a_column() {
        let other = ShardState {
            name: "other".to_owned(),
            ..state("shardId-0")
        };
        let [first, _] = shards();
        let text = table(&[first, shard(other, true, 90_000)], PLAIN_STYLE);
        assert!(text.starts_with("APPLICATION  STATE"), "{text}");
        assert!(text.contains("other        gone 1day"), "{text}");
    }
}
