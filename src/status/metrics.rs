//! The metrics of all shards of a machine as one text: each family once, with the samples of every file.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::Path;

use super::directory::StateFile;

/// No file of ours is larger.
const MOST: u64 = 4 << 20;

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
    let mut text = String::new();
    let is_file = path.symlink_metadata().is_ok_and(|about| about.is_file());
    let file = is_file.then(|| fs::File::open(path).ok()).flatten()?;
    file.take(MOST).read_to_string(&mut text).ok()?;
    Some(text)
}

impl Families {
    /// Adds the text of one file. What a gauge of a process that is gone says is of the past.
    fn add(&mut self, text: &str, with_gauges: bool) {
        let (mut at, mut is_left_out) = (None, false);
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let name = rest.split(' ').next().unwrap_or_default();
                at = Some(self.family(name, line));
                is_left_out = false;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                is_left_out = !with_gauges && rest.ends_with(" gauge");
                self.type_line(at, line);
            } else if let Some(at) = at.filter(|_| !is_left_out && !line.starts_with('#')) {
                self.all[at].samples.push_str(line);
                self.all[at].samples.push('\n');
            }
        }
    }

    /// The place of the family, which begins with this line where it is new.
    fn family(&mut self, name: &str, line: &str) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let head = format!("{line}\n");
        self.all.push(Family {
            head,
            samples: String::new(),
        });
        self.by_name.insert(name.to_owned(), self.all.len() - 1);
        self.all.len() - 1
    }

    /// Of the first file that has the family.
    fn type_line(&mut self, at: Option<usize>, line: &str) {
        if let Some(family) = at.map(|at| &mut self.all[at])
            && !family.head.contains("# TYPE ")
        {
            family.head.push_str(line);
            family.head.push('\n');
        }
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
