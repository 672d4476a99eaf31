//! What the daemon's answer to a checkpoint means.

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Response {
    /// It is stored, or there was nothing to store.
    Stored,
    /// DynamoDB or the way to it is in trouble: the same again, later.
    TryAgain,
    /// Another worker has the lease, for good: `ShutdownException` comes from a failed conditional
    /// write or a lease not renewed in time (`DynamoDBLeaseRenewer.java`).
    LeaseGone,
    /// This value will never be taken: out of range, or no lease table.
    Never,
}

impl Response {
    /// Reads the `error` of an answer, the simple name of a Java exception class
    /// (`DynamoDBCheckpointer.java`, `AWSExceptionManager.java`).
    pub(crate) fn of(error: Option<&str>) -> Response {
        match error {
            None => Response::Stored,
            Some(
                "ThrottlingException" | "KinesisClientLibDependencyException" | "RuntimeException",
            ) => Response::TryAgain,
            Some("ShutdownException") => Response::LeaseGone,
            Some(_) => Response::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exception_has_its_meaning() {
        for (error, response) in [
            (None, Response::Stored),
            (Some("ThrottlingException"), Response::TryAgain),
            (
                Some("KinesisClientLibDependencyException"),
                Response::TryAgain,
            ),
            (Some("RuntimeException"), Response::TryAgain),
            (Some("ShutdownException"), Response::LeaseGone),
            (Some("InvalidStateException"), Response::Never),
            (Some("IllegalArgumentException"), Response::Never),
            (Some("NullPointerException"), Response::Never),
        ] {
            assert_eq!(Response::of(error), response, "{error:?}");
        }
    }
}
