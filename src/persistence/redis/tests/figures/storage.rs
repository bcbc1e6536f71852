//! What a stored message takes, by the way it is stored.

use super::*;

/// Ways to store a message, by what 100 000 of 200 bytes take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for a few seconds"]
async fn of_each_way() {
    const COUNT: u64 = 100_000;
    const CIDS: &str = "redis.call('HSET', 'c', 'ann ' .. string.format('%036.0f', seq), seq)";
    const TIMES: &str =
        "redis.call('ZADD', 't', 1700000000000 + seq * 1000, string.format('%016.0f', seq))";
    // 36 bytes of cid and 200 of content stand in the text, as they do in the engine.
    const TEXT: &str = "'300 1700000000000 1700000000000 0 ann ' .. string.format('%036.0f', seq) .. ' text ' .. ARGV[2]";
    let ways = [
        ("hash of messages", format!("redis.call('HSET', 'm', seq, {TEXT})"), true),
        (
            "hash in buckets of 100",
            format!("redis.call('HSET', 'm' .. math.floor(seq / 100), seq, {TEXT})"),
            true,
        ),
        ("stream, one field", format!("redis.call('XADD', 'm', seq .. '-0', 'm', {TEXT})"), true),
        ("string a message", format!("redis.call('SET', 'm' .. seq, {TEXT})"), true),
        ("index by ts alone", TIMES.to_owned(), false),
        ("cids alone", CIDS.to_owned(), false),
    ];
    for (name, store, with_indexes) in ways {
        let Some(server) = server(&["--appendonly", "no", "--stream-node-max-bytes", "4096"])
        else {
            return;
        };
        let before = used_memory(&server);
        let indexes = if with_indexes { format!("{TIMES} {CIDS}") } else { String::new() };
        let script = format!("for seq = 1, tonumber(ARGV[1]) do {store} {indexes} end");
        command(&server, &["EVAL", &script, "0", &COUNT.to_string(), &content()]).unwrap();
        let bytes = (used_memory(&server) - before) as f64 / COUNT as f64;
        println!(
            "{name}{}: {bytes:.0} bytes a message",
            if with_indexes { ", with both indexes" } else { "" }
        );
    }
}
