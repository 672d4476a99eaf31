//! docs/container/Dockerfile, read.

use std::fs;
use std::path::Path;

/// The instructions of a Dockerfile, in their order.
pub(crate) struct Dockerfile(Vec<(String, String)>);

impl Dockerfile {
    /// The project's own.
    pub(crate) fn read() -> Dockerfile {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/container/Dockerfile");
        Dockerfile::parse(&fs::read_to_string(path).expect("the Dockerfile"))
    }

    /// Without comments, and with the lines joined that a backslash continues.
    fn parse(text: &str) -> Dockerfile {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let text = lines.collect::<Vec<_>>().join("\n").replace("\\\n", "");
        let instructions = text.lines().filter_map(|line| line.split_once(' '));
        Dockerfile(
            instructions
                .map(|(word, rest)| (word.to_owned(), rest.to_owned()))
                .collect(),
        )
    }

    /// What each instruction of this name says.
    pub(crate) fn all<'a>(&'a self, word: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(name, _)| name == word);
        found.map(|(_, rest)| rest.as_str())
    }

    /// What the last instruction of this name says, which is the one that holds for the image.
    #[track_caller]
    pub(crate) fn last<'a>(&'a self, word: &'a str) -> &'a str {
        let found = self.all(word).next_back();
        found.unwrap_or_else(|| panic!("the Dockerfile has no {word}"))
    }

    /// The words of an entry point or a command, which are a list and no text for a shell.
    #[track_caller]
    pub(crate) fn words(&self, word: &str) -> Vec<String> {
        serde_json::from_str(self.last(word)).expect("a list of words")
    }
}
