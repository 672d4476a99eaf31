//! The checkpoint that a child asks for, and why KCL refuses it.

/// The checkpoint that a child asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The number or a sentinel; `None` for the end of what was delivered.
    pub number: Option<String>,
    /// The place within an aggregate.
    pub sub: Option<i64>,
}

/// A checkpoint that KCL refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name of the exception.
    pub error: &'static str,
    /// What the child did.
    pub why: Why,
}

/// What the child did to have its checkpoint refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// This, which is wrong.
    Wrong(String),
    /// This, which is allowed, but in vain.
    Vain(&'static str),
}

impl Refusal {
    /// What the child did is wrong.
    pub(super) fn wrong(error: &'static str, why: String) -> Refusal {
        let why = Why::Wrong(why);
        Refusal { error, why }
    }
}
