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
    let titles = HEADER.map(str::to_owned).to_vec();
    let mut rows: Vec<Row> = std::iter::once(titles)
        .chain(shards.iter().map(row))
        .collect();
    if shards.iter().all(|s| s.state.name == shards[0].state.name) {
        take(&mut rows, "APPLICATION");
    }
    let whys = style.width.map(|width| fit(&mut rows, width));
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
        let why = whys.as_ref().and_then(|whys| whys.get(at));
        let why = why.filter(|why| at > 0 && !why.is_empty());
        text.extend(why.map(|why| below(why, style.width.unwrap_or(usize::MAX))));
    }
    text + &sum(shards) + "\n"
}

/// What of a table a terminal of this height can show, with the cursor below: the worst comes first, and must not be
/// scrolled away.
pub(crate) fn cut(table: &str, height: usize) -> String {
    let lines: Vec<&str> = table.lines().collect();
    let Some((sum, rest)) = lines.split_last().filter(|_| lines.len() >= height) else {
        return table.to_owned();
    };
    let shown = &rest[..height.saturating_sub(3).min(rest.len())];
    let hidden = plural((rest.len() - shown.len()) as u64, "more line");
    [shown, &[&format!("… {hidden}"), *sum]].concat().join("\n") + "\n"
}

/// The cells of a line.
type Row = Vec<String>;

/// Takes what has no room in lines of this width, and returns the last column if that is taken: it goes below.
fn fit(rows: &mut [Row], width: usize) -> Vec<String> {
    let is_fit = |rows: &[Row]| line_width(rows) <= width;
    if is_fit(rows) {
        return Vec::new();
    }
    let whys = take(rows, "WHY");
    for title in SPARE {
        if !is_fit(rows) {
            take(rows, title);
        }
    }
    whys
}

/// Takes the column of this title.
fn take(rows: &mut [Row], title: &str) -> Vec<String> {
    let Some(at) = rows[0].iter().position(|of| of == title) else {
        return Vec::new();
    };
    rows.iter_mut().map(|row| row.remove(at)).collect()
}

fn line_width(rows: &[Row]) -> usize {
    let widths = widths(rows);
    let lines = rows.iter().map(|row| aligned(row, &widths));
    lines.map(|line| line.chars().count()).max().unwrap_or(0)
}

/// Why a shard is where it is, in lines of this width below its own.
fn below(why: &str, width: usize) -> String {
    let room = width.saturating_sub(INDENT.len()).max(1);
    let (mut text, mut rest) = (String::new(), why);
    while let Some((full, _)) = rest.char_indices().nth(room) {
        // A word that ends with the line has no space in it.
        let space = match rest[full..].starts_with(' ') {
            true => Some(full),
            false => rest[..full].rfind(' ').filter(|at| *at > 0),
        };
        let (line, more) = rest.split_at(space.unwrap_or(full));
        let _ = writeln!(text, "{INDENT}{line}");
        rest = more.trim_start();
    }
    text + INDENT + rest + "\n"
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

/// What a narrow terminal does without, in this order.
const SPARE: [&str; 5] = ["IN FLIGHT", "PID", "HELD", "RECORDS/S", "CHECKPOINT"];

/// What stands before a line that belongs to the one above it.
const INDENT: &str = "  ";

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

fn row(shard: &Shard) -> Row {
    let state = &shard.state;
    vec![
        word(&state.name),
        standing(shard),
        word(&state.shard_id),
        state.pid.to_string(),
        shard.behind.map_or("-".to_owned(), shown),
        format!("{:.1}", state.records_per_second),
        state.in_flight.to_string(),
        state.held_records.to_string(),
        shard
            .checkpoint
            .map_or("-".to_owned(), |age| format!("{} ago", shown(age))),
        why(shard),
    ]
}

/// What others wrote, with nothing in it that would disturb a terminal or its columns.
fn word(text: &str) -> String {
    clean::line(text).replace('\t', " ")
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
            word(&blocked.sequence_number),
            blocked.sub_sequence_number,
            plural(u64::from(blocked.attempts), "attempt")
        ));
    }
    parts.extend(held_up(shard));
    // Of a shard that is well it is of the past.
    let failure = shard.state.last_failure.as_ref();
    if let Some(failure) = failure.filter(|_| shard.standing < Standing::Well) {
        parts.push(word(&failure.ended));
        if !failure.stderr.is_empty() {
            parts.push(word(&failure.stderr));
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

fn widths(rows: &[Row]) -> Vec<usize> {
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
    fn a_terminal_has_colours() {
        let style = Style {
            colored: true,
            width: None,
        };
        let text = table(&shards(), style);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("\x1b[1mSTATE") && lines[0].ends_with(PLAIN));
        assert!(lines[1].starts_with("\x1b[31mblocked") && lines[1].ends_with(PLAIN));
        assert!(lines[2].starts_with("well"), "{text}");
    }

    fn fitted_to(width: usize) -> String {
        let style = Style {
            colored: false,
            width: Some(width),
        };
        table(&shards(), style)
    }

    #[test]
    fn what_a_terminal_has_no_room_for_goes_below_or_is_left_out() {
        assert_eq!(fitted_to(130), table(&shards(), PLAIN_STYLE));
        let expected = "\
STATE        SHARD      PID   BEHIND  RECORDS/S  IN FLIGHT  HELD  CHECKPOINT
blocked 10m  shardId-1  4711  0.5s    12.0       1          3     40.0s ago
  record 77.1, 9 attempts: exit code 1: no \u{fffd}[31mroute
well         shardId-2  4711  0.5s    12.0       1          3     40.0s ago
2 shards: 1 blocked, 1 well
";
        assert_eq!(fitted_to(80), expected);
        let expected = "\
STATE        SHARD      BEHIND  CHECKPOINT
blocked 10m  shardId-1  0.5s    40.0s ago
  record 77.1, 9 attempts: exit code 1: no
  \u{fffd}[31mroute
well         shardId-2  0.5s    40.0s ago
2 shards: 1 blocked, 1 well
";
        assert_eq!(fitted_to(42), expected);
    }

    #[test]
    fn no_line_is_longer_than_a_terminal_however_narrow() {
        for width in 1..60 {
            let text = fitted_to(width);
            let mut lines: Vec<&str> = text.lines().collect();
            lines.pop();
            let longest = lines.iter().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width.max(3)), "{width}: {text}");
        }
        assert_eq!(fitted("well", Some(3)), "we…");
        assert_eq!(below("no space", 4), "  no\n  sp\n  ac\n  e\n");
    }

    #[test]
    fn a_low_terminal_shows_the_worst_and_the_sum() {
        let table = "head\none\ntwo\nthree\nsum\n";
        assert_eq!(cut(table, 6), table);
        assert_eq!(cut(table, 5), "head\none\n… 2 more lines\nsum\n");
        assert_eq!(cut(table, 1), "… 4 more lines\nsum\n");
        assert_eq!(cut("", 1), "");
    }

    #[test]
    fn a_tab_shifts_no_column() {
        assert_eq!(word("a\tb"), "a b");
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
