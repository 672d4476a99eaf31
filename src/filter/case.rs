//! Text in capitals or small letters, as EventBridge takes it: letter by letter, each of the pattern's as it is,
//! small or capital. What that makes of a letter may be several: `ß` is `SS` in capitals.

/// Text whose letters may be of either case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnyCase {
    letters: Vec<Vec<String>>,
}

impl AnyCase {
    /// This text, in any case.
    pub(super) fn of(text: &str) -> AnyCase {
        AnyCase {
            letters: text.chars().map(forms).collect(),
        }
    }

    /// Whether it is this text.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        self.after_prefix(text).is_some_and(<[u8]>::is_empty)
    }

    /// Whether the text begins with it.
    pub(super) fn begins(&self, text: &[u8]) -> bool {
        self.after_prefix(text).is_some()
    }

    /// Whether the text ends with it.
    pub(super) fn ends(&self, text: &[u8]) -> bool {
        let mut letters = self.letters.iter().rev();
        letters
            .try_fold(text, |rest, forms| {
                let mut forms = forms.iter();
                forms.find_map(|form| rest.strip_suffix(form.as_bytes()))
            })
            .is_some()
    }

    fn after_prefix<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        self.letters.iter().try_fold(text, |rest, forms| {
            let mut forms = forms.iter();
            forms.find_map(|form| rest.strip_prefix(form.as_bytes()))
        })
    }
}

/// The forms of a letter. AWS looks at units of UTF-16, so a letter of two of them has but one.
fn forms(letter: char) -> Vec<String> {
    let mut forms = vec![letter.to_string()];
    if letter.len_utf16() == 1 {
        forms.push(letter.to_lowercase().collect());
        forms.push(letter.to_uppercase().collect());
    }
    forms.dedup();
    forms
}
