//! Inputs that targets begin with: what real clients, files and services say.

use std::fs;
use std::path::Path;

use crate::checker::tests::simulated;
use crate::config::env_example;
use crate::history::write_event;
use crate::model::{ChannelName, Place, UserName};
use crate::{distribution, persistence};

/// Those of a target.
pub fn of(name: &str) -> Vec<Vec<u8>> {
    match name {
        "frame" => frame(),
        "cursor" => (0..5)
            .map(|kind| [&[kind][..], &[7; 16], b"AAAAAAAAAAcAAAAAAAAAB0F8o3V0aG9y"].concat())
            .collect(),
        "token" => token(),
        "config" => config(),
        "history" => history(),
        "local_store" => persistence::local::fuzzing::seeds(),
        "redis_replies" => redis_replies(),
        "cassandra_rows" => persistence::cassandra::fuzzing::seeds(),
        "riak_objects" => persistence::riak::fuzzing::seeds(),
        "hints" => distribution::fuzzing::seeds(),
        "socketio" => socketio(),
        _ => Vec::new(),
    }
}

fn conv() -> String {
    Place::Channel(ChannelName::new("news").unwrap()).conv_id().to_string()
}

fn frame() -> Vec<Vec<u8>> {
    let texts = [
        // A direct chat: late, doubled, conflicting, acknowledged, read page by page.
        r#"t0{"id":1,"hello":{"user":"ann","client":"x"}}
1{"id":1,"hello":{"user":"bob"}}
0{"id":2,"open":{"to":{"user":"bob"},"limit":2}}
1{"id":2,"open":{"to":{"user":"ann"},"echo":false}}
0{"id":3,"send":{"conv":"$conv","cid":"a","type":"text","content":"one","ts":5000}}
0{"id":4,"send":{"conv":"$conv","cid":"b","type":"text","content":"two","ts":4000}}
a{"id":5,"send":{"conv":"$conv","cid":"a","type":"text","content":"one"}}
0{"id":6,"send":{"conv":"$conv","cid":"a","type":"text","content":"other"}}
1{"id":3,"read":{"conv":"$conv","limit":1}}
1{"id":4,"read":{"conv":"$conv","limit":1,"cursor":"$cursor"}}
1{"id":5,"read":{"conv":"$conv","late":true,"limit":1}}
1{"id":6,"read":{"conv":"$conv","after_seq":0}}
1{"id":7,"ack":{"conv":"$conv","up_to":1,"ranges":[[2,3]]}}
1{"id":8,"open":{"to":{"user":"ann"},"resume":{"epoch":"$epoch","seq":1}}}
0{"id":7,"list":{"limit":1}}
0{"id":8,"leave":{"conv":"$conv"}}
0{"id":9,"ping":{}}"#
            .to_owned(),
        // A group: made, invited to, left.
        r#"t0{"id":1,"hello":{"user":"ann"}}
1{"id":1,"hello":{"user":"bob"}}
0{"id":2,"create":{}}
0{"id":3,"open":{"to":{"group":"$group"}}}
0{"id":4,"invite":{"conv":"$conv","user":"bob"}}
0{"id":5,"send":{"conv":"$conv","cid":"c","type":"text","content":"hello"}}
0{"id":6,"roster":{"conv":"$conv"}}
0{"id":7,"remove":{"conv":"$conv","user":"bob"}}
0{"id":8,"quit":{"conv":"$conv"}}"#
            .to_owned(),
        // A channel of three, one of which goes.
        format!(
            r#"T0{{"id":1,"hello":{{"user":"ann"}}}}
2{{"id":1,"hello":{{"user":"ann"}}}}
b{{"id":1,"hello":{{"user":"eve"}}}}
0{{"id":2,"open":{{"to":{{"channel":"news"}},"push":false}}}}
1{{"id":2,"open":{{"to":{{"channel":"news"}},"limit":0}}}}
2{{"id":2,"open":{{"to":{{"channel":"news"}}}}}}
1{{"id":3,"send":{{"conv":"{}","cid":"c","type":"text","content":"{}"}}}}
-
0{{"id":3,"refresh":{{"token":"x"}}}}
0{{"id":4,"hello":{{"user":"ann"}}}}
0{{"id":5}}
0nothing"#,
            conv(),
            "x".repeat(200)
        ),
    ];
    // The beginning of RFC 6455 §5.7, and frames that hide nothing under their mask.
    let hello = br#"{"id":1,"hello":{"user":"ann"}}"#;
    let open = br#"{"id":2,"open":{"to":{"channel":"news"}}}"#;
    let mut bytes = vec![b'r'];
    for (first, payload) in [
        (0x81, &hello[..]),
        (0x89, b"hi"),
        (0x01, &open[..9]),
        (0x80, &open[9..]),
        (0x88, &[3, 232]),
    ] {
        bytes.extend([first, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
        bytes.extend_from_slice(payload);
    }
    texts
        .into_iter()
        .map(String::into_bytes)
        .chain([bytes, vec![b'r', 0x81, 0xfe, 0, 200, 1, 2, 3, 4]])
        .collect()
}

fn socketio() -> Vec<Vec<u8>> {
    let texts = [
        // Both ways, late, doubled, acknowledged, read page by page; what is no command.
        r#"t040{"user":"ann","client":"x"}
q40{"user":"bob"}|3
0421["open",{"to":{"user":"bob"},"limit":1}]
q421["open",{"to":{"user":"ann"}}]
0422["send",{"conv":"$conv","cid":"a","type":"text","content":"one","ts":5000}]
a423["send",{"conv":"$conv","cid":"b","type":"text","content":"t]w\"o","ts":4000}]
042["send",{"conv":"$conv","cid":"a","type":"text","content":"one"}]
q422["read",{"conv":"$conv","limit":1}]|423["ack",{"conv":"$conv","up_to":1}]|424["ping"]
0424["read",{"conv":"$conv","limit":1,"cursor":"$cursor"}]
0425["open",{"to":{"user":"bob"},"resume":{"epoch":"$epoch","seq":1}}]
042["open",{},{}]
042[5]
040/admin,{}
042/admin,["send"]
0431[]
02
b41"#,
        r#"T0420["ping",{}]
q40
040{"user":"ann"}
0427["create",{}]
0428["open",{"to":{"group":"$group"}}]
0429007199254740989["send",{"conv":"$conv","cid":"c","type":"text","content":"é"}]
0451-["send",{"_placeholder":true,"num":0}]
q6"#,
    ];
    let frames = |first: u8, packets: &[(u8, &[u8])]| {
        let mut bytes = vec![first];
        for (head, payload) in packets {
            bytes.extend([*head, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
            bytes.extend_from_slice(payload);
        }
        bytes
    };
    let hello = br#"40{"user":"ann"}"#;
    let upgrade: [(u8, &[u8]); 5] =
        [(0x89, b"hi"), (0x81, b"2probe"), (0x81, b"5"), (0x81, hello), (0x81, b"1")];
    let session: [(u8, &[u8]); 6] = [
        (0x81, hello),
        (0x01, br#"421["op"#),
        (0x89, b"hi"),
        (0x80, br#"en",{"to":{"channel":"news"}}]"#),
        (0x81, b"3"),
        (0x88, &[3, 232]),
    ];
    let texts = texts.into_iter().map(|text| text.as_bytes().to_vec());
    texts.chain([frames(b'u', &upgrade), frames(b'w', &session)]).collect()
}

fn token() -> Vec<Vec<u8>> {
    let keys = |name: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name))
            .unwrap()
    };
    let claims = r#"{"sub":"ann","iat":$now,"exp":$soon,"jti":"j-1"}"#;
    let set = format!(r#"{{"keys":[{},{}]}}"#, keys("ed25519-one.jwk"), keys("rsa-one.jwk"));
    let texts = [
        ("\0", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJpYXQiOjEsImV4cCI6Mn0.AAAA".to_owned()),
        ("\u{1}", format!("{{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"k\"}}\n{claims}")),
        ("\u{1}", r#"{"alg":"HS256"}"#.to_owned() + "\n" + r#"{"sub":"ann","iat":$now.5,"exp":$soon,"nbf":1e9,"aud":["x"],"iss":"y"}"#),
        ("\u{1}", r#"{"alg":"none","crit":[]}"#.to_owned() + "\n{}"),
        ("\u{2}", format!("{{\"alg\":\"HS256\"}}\n{claims}\n\u{1}\u{1}\u{1}")),
        ("\u{3}", set),
        ("\u{3}", r#"{"keys":[{"kty":"oct","k":"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE","alg":"HS256","use":"sig","key_ops":["verify"]}]}"#.to_owned()),
        ("\u{4}", keys("ed25519-one.pub.pem") + &keys("rsa-short.pub.pem")),
        ("\u{4}", keys("p256.pub.pem")),
    ];
    texts.into_iter().map(|(kind, text)| format!("{kind}{text}").into_bytes()).collect()
}

fn config() -> Vec<Vec<u8>> {
    let texts = [
        "REDIS_URL=redis://ann:c4nary@localhost:7000/3\nWS_MESSAGE_PERSISTENCE_ENGINE=REDIS\nWS_MESSAGE_DISTRIBUTION_ENGINE=KAFKA\nKAFKA_BROKERS=\"a:1, [::1]:2\"\n",
        "CHATCTL_AUTH_SECRET=c4nary-c4nary-c4nary-c4nary-c4nary\nCHATCTL_AUTH_AUDIENCE='x'\nCHATCTL_LISTEN=0.0.0.0:0\n---\nCHATCTL_PING_MS=50\nCHATCTL_LISTN=x\n",
        "export WS_MESSAGE_PERSISTENCE_ENGINE=CASSANDRA\r\nCASSANDRA_HOSTS=a:1,b:2 # nodes\r\nCASSANDRA_KEYSPACE=${WS_X}chat\r\n",
        "CHATCTL_AUTH_JWKS_URL=https://c4nary:c4nary@keys.example/jwks?x=c4nary\nCHATCTL_ADMIN_TOKEN=c4nary-c4nary-c4nary\n",
        "# >>> chatctl init-env 00000000: written by init-env; edited by hand, it is left alone\nREDIS_URL=redis://x\n# <<< chatctl init-env\nKAFKA_BROKERS=b:1\n",
    ];
    // The first lines of the real one; all of it is long.
    let example: String = env_example()
        .lines()
        .take(24)
        .map(|line| format!("{}\n", line.trim_start_matches('#')))
        .collect();
    texts.map(|text| text.as_bytes().to_vec()).into_iter().chain([example.into_bytes()]).collect()
}

fn history() -> Vec<Vec<u8>> {
    let histories =
        (0..6).map(|seed| simulated::history_on(1 + seed % 2, seed, 6 + 4 * seed as usize));
    histories
        .map(|events| {
            let mut bytes = Vec::new();
            events.iter().for_each(|event| write_event(&mut bytes, event).unwrap());
            bytes
        })
        .collect()
}

fn redis_replies() -> Vec<Vec<u8>> {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let message = bulk("7 120 5 9 1 ann c-1 text grüße x");
    let array = |parts: &[String]| format!("*{}\r\n{}", parts.len(), parts.concat());
    let number = |number: i64| format!(":{number}\r\n");
    let ok = bulk("ok");
    let opened = array(&[
        ok.clone(),
        number(7),
        number(1),
        number(0),
        bulk("1 3 5 6"),
        number(2),
        number(0),
        number(1),
        number(0),
        bulk("page"),
        number(1),
        number(-1),
        array(std::slice::from_ref(&message)),
        array(&[]),
    ]);
    let place = serde_json::to_string(&Place::direct(
        UserName::new("ann").unwrap(),
        UserName::new("bob").unwrap(),
    ))
    .unwrap();
    let words = [
        (0, opened),
        (1, array(&[ok.clone(), number(1), array(&[message.clone(), message.clone()])])),
        (2, array(&[ok.clone(), number(-1), array(std::slice::from_ref(&message))])),
        (3, array(&[ok.clone(), bulk("1 3 5 6 9 12"), number(2), number(1)])),
        (4, array(&[ok.clone(), number(1), number(0), number(3), array(&[message])])),
        (5, array(&[bulk("1 3 5 6 9 12")])),
        (6, array(&[ok.clone(), number(9), number(2), bulk("ann"), array(&[bulk("m ann"), bulk("1 0 77"), bulk("m bob"), bulk("2 5 77")])])),
        (8, array(&[ok, bulk("12"), number(1), number(0), number(0), number(1)])),
        (8, array(&[bulk("12-1"), bulk("12-0"), bulk(r#"{"user":"ann","at":5,"until":9}"#), bulk("12-1"), bulk(r#"{"token_id":"j","at":5,"until":9}"#)])),
        (9, format!("{} {place}", conv())),
        (10, "# Server\r\nrun_id:abc\r\nrole:master\n\nappendonly yes\nappendfsync always\nmaxmemory 0\nmaxmemory-policy noeviction".to_owned()),
    ];
    words.into_iter().map(|(kind, text)| [&[kind][..], text.as_bytes()].concat()).collect()
}
