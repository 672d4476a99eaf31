//! The metrics of all shards of a machine as one text: each family once, with the samples of every file.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::Path;

use super::directory::StateFile;

/// No file of ours is larger.
const MOST: u64 = 4 << 20;

/// What each family begins with.
const HELP: &str = "# HELP ";

/// Whether the kclpipe of a shard lives, by the file that it keeps.
const UP: &str = "# HELP kclpipe_up 1 while the kclpipe of a shard lives, 0 once it was killed.\n# TYPE kclpipe_up gauge\n";

/// A metric of all files.
#[derive(Debug, Default)]
struct Family {
    /// Its lines `# HELP` and `# TYPE`.
    head: String,
    samples: String,
}

/// Families in the order in which they came.
#[derive(Debug, Default)]
struct Families {
    all: Vec<Family>,
    by_name: HashMap<String, usize>,
}

/// The metrics of these shards, and whether each of them is up.
pub(crate) fn of_all(files: &[StateFile]) -> String {
    let mut families = Families::default();
    for file in files {
        if let Some(text) = read(&file.path.with_extension("prom")) {
            families.add(&text, !file.is_gone);
        }
    }
    let mut text = String::from(UP);
    for file in files {
        let (name, shard) = (&file.state.name, &file.state.shard_id);
        let up = u8::from(!file.is_gone);
        let _ = writeln!(
            text,
            r#"kclpipe_up{{name="{}",shard="{}"}} {up}"#,
            escaped(name),
            escaped(shard)
        );
    }
    for family in families.all.iter().filter(|f| !f.samples.is_empty()) {
        text.push_str(&family.head);
        text.push_str(&family.samples);
    }
    text
}

fn read(path: &Path) -> Option<String> {
    let about = path.symlink_metadata().ok()?;
    let file = about
        .is_file()
        .then(|| fs::File::open(path).ok())
        .flatten()?;
    let mut text = String::with_capacity(about.len().min(MOST) as usize + 1);
    file.take(MOST).read_to_string(&mut text).ok()?;
    Some(text)
}

impl Families {
    /// Adds the text of one file. What a gauge of a process that is gone says is of the past.
    fn add(&mut self, text: &str, with_gauges: bool) {
        let text = text.strip_prefix(HELP).unwrap_or_default();
        // No value of a label holds the end of a line.
        for family in text.trim_end_matches('\n').split("\n# HELP ") {
            let Some((help, rest)) = family.split_once('\n') else {
                continue;
            };
            let (kind, samples) = rest.split_once('\n').unwrap_or((rest, ""));
            if !kind.starts_with("# TYPE ") || (!with_gauges && kind.ends_with(" gauge")) {
                continue;
            }
            let all = self.family(help, kind);
            all.push_str(samples);
            all.push('\n');
        }
    }

    /// The samples of a family, which begins with these two lines where it is new.
    fn family(&mut self, help: &str, kind: &str) -> &mut String {
        let name = help.split(' ').next().unwrap_or_default();
        let at = *self.by_name.entry(name.to_owned()).or_insert_with(|| {
            self.all.push(Family {
                head: format!("{HELP}{help}\n{kind}\n"),
                samples: String::new(),
            });
            self.all.len() - 1
        });
        &mut self.all[at].samples
    }
}

/// A label's value, as the text format wants it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::super::standing::tests::state;
    use super::*;

    #[test]
    fn a_family_stands_once_and_a_gauge_of_the_dead_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |shard: &str, is_gone| {
            let path = folder.path().join(format!("kclpipe-app-{shard}-1.json"));
            let text = format!(
                "# HELP a_total Help a.\n# TYPE a_total counter\na_total{{shard=\"{shard}\"}} 1\n# HELP b Help b.\n# TYPE b gauge\nb{{shard=\"{shard}\"}} 2\n"
            );
            fs::write(path.with_extension("prom"), text).expect("written");
            StateFile {
                path,
                state: state(shard),
                is_gone,
            }
        };
        let files = [file("s0", false), file("s1", true), file("s2", false)];
        let expected = format!(
            "{UP}kclpipe_up{{name=\"app\",shard=\"s0\"}} 1
kclpipe_up{{name=\"app\",shard=\"s1\"}} 0
kclpipe_up{{name=\"app\",shard=\"s2\"}} 1
# HELP a_total Help a.
# TYPE a_total counter
a_total{{shard=\"s0\"}} 1
a_total{{shard=\"s1\"}} 1
a_total{{shard=\"s2\"}} 1
# HELP b Help b.
# TYPE b gauge
b{{shard=\"s0\"}} 2
b{{shard=\"s2\"}} 2
"
        );
        assert_eq!(of_all(&files), expected);
        assert_eq!(escaped("a\"\\\n"), r#"a\"\\\n"#);
    }
}
