//! What a bucket type must be like, and how it is made.

use serde_json::Value;

/// What must be done on the nodes before they can be used, for people.
pub fn how_to(bucket_type: &str) -> String {
    format!(
        "in riak.conf of every node: storage_backend = leveled, conditional_put_mode = prefer_token; then once: {}",
        make(bucket_type)
    )
}

fn make(name: &str) -> String {
    format!(
        "riak-admin bucket-type create {name} '{{\"props\":{{\"allow_mult\":true,\"sync_on_write\":\"all\"}}}}' && riak-admin bucket-type activate {name}"
    )
}

/// Why the bucket type cannot be used, and what to do; `None` where it can.
pub fn unusable(name: &str, properties: Option<&Value>) -> Option<String> {
    let Some(properties) = properties else {
        return Some(format!(
            "the bucket type {name} does not exist or is not active: {}",
            make(name)
        ));
    };
    let is = |property: &str| properties[property] == true;
    let flaw = if !is("allow_mult") {
        "allow_mult=false"
    } else if is("last_write_wins") {
        "last_write_wins=true"
    } else {
        return None;
    };
    Some(format!(
        "the bucket type {name} has {flaw}, by which writers at once lose each other's values; make another one, and name it by CHATCTL_RIAK_BUCKET_TYPE: {}",
        make(&format!("{name}-2"))
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bucket_type_that_loses_values_is_refused() {
        let good = json!({"allow_mult": true, "last_write_wins": false});
        assert_eq!(unusable("chat", Some(&good)), None);
        for bad in
            [None, Some(json!({})), Some(json!({"allow_mult": true, "last_write_wins": true}))]
        {
            let reason = unusable("chat", bad.as_ref()).unwrap();
            assert!(reason.contains("bucket-type create chat"), "{reason}");
        }
    }
}
