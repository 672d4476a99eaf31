//! The table in DynamoDB in which the daemon keeps its leases and checkpoints.

use serde_json::{Value, json};

use super::service::Service;
use super::stream::{Position, Shard};

/// The application's lease table.
#[derive(Clone)]
pub(crate) struct Leases {
    service: Service,
    pub(crate) application: String,
}

/// What a lease says about its shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checkpoint {
    /// Nothing is done yet.
    TrimHorizon,
    /// Everything up to here is done.
    At(Position),
    /// The shard is closed and everything in it is done.
    ShardEnd,
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// How far the shard is done.
    pub(crate) checkpoint: Checkpoint,
    /// Goes up with every renewal and every change.
    pub(crate) counter: u64,
}

impl Leases {
    /// Makes the table and an unowned lease for each shard. Left to itself a daemon waits up to
    /// half a minute before it makes a table, and KCL 3 another ten seconds for the index.
    pub(crate) fn create(service: &Service, application: &str, shards: &[Shard]) -> Self {
        let leases = Self {
            service: service.clone(),
            application: application.into(),
        };
        leases.service.call("CreateTable", &leases.schema());
        for shard in shards {
            leases.service.call(
                "PutItem",
                &json!({ "TableName": application, "Item": new_lease(shard) }),
            );
        }
        leases
    }

    /// The lease of a shard, if it has one.
    pub(crate) fn get(&self, shard: &str) -> Option<Lease> {
        let key = json!({ "leaseKey": { "S": shard } });
        let request = json!({ "TableName": self.application, "Key": key, "ConsistentRead": true });
        let reply = self.service.call("GetItem", &request);
        reply.get("Item").map(lease)
    }

    /// The checkpoint of a shard that has a lease.
    #[track_caller]
    pub(crate) fn checkpoint(&self, shard: &str) -> Checkpoint {
        self.get(shard).expect("the shard has a lease").checkpoint
    }

    /// Takes or renews a lease in the name of a worker that does not exist, as a real one would
    /// write it.
    pub(crate) fn seize(&self, shard: &str, owner: &str) {
        self.service.call(
            "UpdateItem",
            &json!({
                "TableName": self.application,
                "Key": { "leaseKey": { "S": shard } },
                "UpdateExpression": "SET leaseOwner = :owner ADD leaseCounter :one",
                "ExpressionAttributeValues": { ":owner": { "S": owner }, ":one": { "N": "1" } },
            }),
        );
    }

    /// Asks the owner of a lease to hand it over to a worker that does not exist, as KCL 3's leader does.
    pub(crate) fn ask_for(&self, shard: &str, owner: &str) {
        self.service.call(
            "UpdateItem",
            &json!({
                "TableName": self.application,
                "Key": { "leaseKey": { "S": shard } },
                "UpdateExpression": "SET checkpointOwner = leaseOwner, leaseOwner = :owner",
                "ExpressionAttributeValues": { ":owner": { "S": owner } },
            }),
        );
    }

    /// Removes the lock of KCL 3's leader. A daemon that was killed leaves it behind, and it holds
    /// up the next one for two minutes.
    pub(crate) fn forget_leader(&self) {
        let table = format!("{}-CoordinatorState", self.application);
        self.service.call(
            "DeleteItem",
            &json!({ "TableName": table, "Key": { "key": { "S": "Leader" } } }),
        );
    }

    /// All rows, as they are, of the table and of that of KCL 3's leader.
    pub(crate) fn rows(&self) -> String {
        let of = |table: &str| {
            let request = json!({ "TableName": table, "ConsistentRead": true });
            let rows = match self.service.try_call("Scan", &request) {
                Ok(reply) => reply["Items"].as_array().cloned().unwrap_or_default(),
                Err(error) => vec![error.into()],
            };
            let rows = rows.iter().map(|row| format!("{table}: {row}\n"));
            rows.collect::<String>()
        };
        of(&self.application) + &of(&format!("{}-CoordinatorState", self.application))
    }

    /// The table as KCL 3 makes it; the older ones do not mind the index.
    fn schema(&self) -> Value {
        json!({
            "TableName": self.application,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                { "AttributeName": "leaseKey", "AttributeType": "S" },
                { "AttributeName": "leaseOwner", "AttributeType": "S" },
            ],
            "KeySchema": [{ "AttributeName": "leaseKey", "KeyType": "HASH" }],
            "GlobalSecondaryIndexes": [{
                "IndexName": "LeaseOwnerToLeaseKeyIndex",
                "KeySchema": [
                    { "AttributeName": "leaseOwner", "KeyType": "HASH" },
                    { "AttributeName": "leaseKey", "KeyType": "RANGE" },
                ],
                "Projection": { "ProjectionType": "KEYS_ONLY" },
            }],
        })
    }
}

fn new_lease(shard: &Shard) -> Value {
    json!({
        "leaseKey": { "S": shard.id },
        "leaseCounter": { "N": "0" },
        "checkpoint": { "S": "TRIM_HORIZON" },
        "checkpointSubSequenceNumber": { "N": "0" },
        "ownerSwitchesSinceCheckpoint": { "N": "0" },
        "startingHashKey": { "S": shard.first_hash.to_string() },
        "endingHashKey": { "S": shard.last_hash.to_string() },
    })
}

fn lease(item: &Value) -> Lease {
    let number = |name: &str| {
        item[name]["N"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    };
    let checkpoint = match item["checkpoint"]["S"]
        .as_str()
        .expect("a lease has a checkpoint")
    {
        "TRIM_HORIZON" => Checkpoint::TrimHorizon,
        "SHARD_END" => Checkpoint::ShardEnd,
        sequence => Checkpoint::At(Position {
            sequence: sequence.into(),
            sub: number("checkpointSubSequenceNumber"),
        }),
    };
    Lease {
        checkpoint,
        counter: number("leaseCounter"),
    }
}
