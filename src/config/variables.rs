//! The one table of variables.

use super::{Kind, Variable};

/// A day: no interval of a server is longer.
const DAY_MS: u64 = 86_400_000;
/// An exbibyte: beyond every disk, far from overflow.
const BYTES_MAX: u64 = 1 << 60;
/// More than a session could ever do in a second.
const PER_S_MAX: u64 = 1 << 40;

const ADDRESSES: Kind = Kind::Text {
    name: "ADDRESSES",
    allowed: "host:port pairs with commas between, IPv6 addresses in brackets",
};

const PATH: Kind = Kind::Text { name: "PATH", allowed: "the path of a file" };

const fn choice(words: &'static [&'static str]) -> Kind {
    Kind::Choice(words)
}

const fn milliseconds(min: u64) -> Kind {
    Kind::Number { unit: "MS", min, max: DAY_MS }
}

const fn bytes(min: u64) -> Kind {
    Kind::Number { unit: "BYTES", min, max: BYTES_MAX }
}

const fn connections(min: u64) -> Kind {
    Kind::Number { unit: "COUNT", min, max: 10_000_000 }
}

/// Zero: no limit.
const fn per_second(unit: &'static str) -> Kind {
    Kind::Number { unit, min: 0, max: PER_S_MAX }
}

const fn variable(
    key: &'static str,
    flag: &'static str,
    default: Option<&'static str>,
    kind: Kind,
    doc: &'static str,
) -> Variable {
    Variable { key, flag, default, kind, doc, secret: false }
}

/// Every variable, in the order of `--help` and `.env.example`.
pub const VARIABLES: &[Variable] = &[
    variable(
        "WS_MESSAGE_PERSISTENCE_ENGINE",
        "persistence-engine",
        Some("LOCAL"),
        choice(&["LOCAL", "REDIS", "CASSANDRA", "RIAK"]),
        "Where messages live. LOCAL: embedded, durable, one node; REDIS: a Redis or Valkey server; CASSANDRA; RIAK: an OpenRiak KV 3.4 that you run, tried against a stand-in only",
    ),
    variable(
        "WS_MESSAGE_DISTRIBUTION_ENGINE",
        "distribution-engine",
        Some("LOCAL"),
        choice(&["LOCAL", "REDIS", "KAFKA"]),
        "How messages become known to other nodes. LOCAL: one node; REDIS: pub/sub of a Redis or Valkey server; KAFKA: a topic",
    ),
    variable(
        "WS_CONN_PERSISTENCE_ENGINE",
        "registry-engine",
        Some("LOCAL"),
        choice(&["LOCAL", "REDIS"]),
        "Where it is kept who is connected: LOCAL, one node; or REDIS, a Redis or Valkey server. A LOCAL engine anywhere makes the server the only one on its Redis",
    ),
    variable(
        "CHATCTL_NODE",
        "node",
        None,
        Kind::Text { name: "NAME", allowed: "1 to 200 visible ASCII characters" },
        "What this node is known by after a restart, unlike every other node: what its last start left is then taken over at once. Host name and listening address where it is not set",
    ),
    variable(
        "CHATCTL_LEASE_MS",
        "lease-ms",
        Some("10000"),
        milliseconds(500),
        "How long a node that ends without a goodbye counts as running: its users stay online so long",
    ),
    variable(
        "CHATCTL_CLOCK_OFFSET_MS",
        "clock-offset-ms",
        Some("0"),
        Kind::Text { name: "MS", allowed: "an integer of milliseconds, such as -5000" },
        "Added to this machine's clock, for tests of nodes whose clocks disagree",
    ),
    Variable {
        secret: true,
        ..variable(
            "REDIS_URL",
            "redis-url",
            Some("redis://127.0.0.1:16379"),
            Kind::Text {
                name: "URL",
                allowed: "redis://[user:password@]host[:port][/database], or rediss:// for TLS; what is special in a password written as %XX",
            },
            "The Redis server of the REDIS engines",
        )
    },
    variable(
        "CHATCTL_REDIS_TLS_CA",
        "redis-tls-ca",
        None,
        PATH,
        "The file of certificates in PEM form, one of whose owners must have issued that of a rediss:// server; not set: whom the system trusts",
    ),
    variable(
        "CHATCTL_REDIS_SENTINELS",
        "redis-sentinels",
        None,
        ADDRESSES,
        "Sentinels that know where the primary of Redis is, asked before each connection. The host of REDIS_URL, without a port, is then their name of it: redis://mymaster",
    ),
    Variable {
        secret: true,
        ..variable(
            "CHATCTL_REDIS_SENTINEL_PASSWORD",
            "redis-sentinel-password",
            None,
            Kind::Text { name: "SECRET", allowed: "the password" },
            "The password of the sentinels themselves, where they ask for one; that of the server stands in REDIS_URL",
        )
    },
    variable(
        "CHATCTL_REDIS_CLUSTER",
        "redis-cluster",
        None,
        ADDRESSES,
        "Nodes of the Redis Cluster that REDIS_URL is one of, asked before each connection which of its primaries has what; the others are learnt from them",
    ),
    variable(
        "CHATCTL_REDIS_PREFIX",
        "redis-prefix",
        Some("chatctl:"),
        Kind::Text { name: "TEXT", allowed: "visible ASCII characters but { and }" },
        "What the keys of the REDIS engines begin with; another one is another store",
    ),
    variable(
        "KAFKA_BROKERS",
        "kafka-brokers",
        Some("127.0.0.1:19092"),
        ADDRESSES,
        "Brokers of the KAFKA engine to begin with; the others are learnt from them",
    ),
    variable(
        "CHATCTL_KAFKA_SASL",
        "kafka-sasl",
        Some("no"),
        choice(&["no", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
        "The mechanism of SASL by which Kafka lets a user in, where it asks for one. PLAIN without TLS shows the password to whoever is on the way",
    ),
    variable(
        "CHATCTL_KAFKA_USER",
        "kafka-user",
        None,
        Kind::Text { name: "NAME", allowed: "a name" },
        "The user of Kafka",
    ),
    Variable {
        secret: true,
        ..variable(
            "CHATCTL_KAFKA_PASSWORD",
            "kafka-password",
            None,
            Kind::Text { name: "SECRET", allowed: "the password" },
            "The password of that user; flags can be seen by others on this machine, so rather in the environment",
        )
    },
    variable(
        "CHATCTL_KAFKA_TLS",
        "kafka-tls",
        Some("no"),
        choice(&["no", "yes"]),
        "Reach Kafka over TLS. Certificates of brokers must be for the names or addresses that they are reached by",
    ),
    variable(
        "CHATCTL_KAFKA_TLS_CA",
        "kafka-tls-ca",
        None,
        PATH,
        "The file of certificates in PEM form whose owners may have issued those of brokers, beside whom the system trusts",
    ),
    variable(
        "CHATCTL_KAFKA_TLS_CERT",
        "kafka-tls-cert",
        None,
        PATH,
        "The file of the certificate in PEM form that this server shows to brokers which ask for one (ssl.client.auth), its own first. Read at the start",
    ),
    variable(
        "CHATCTL_KAFKA_TLS_KEY",
        "kafka-tls-key",
        None,
        PATH,
        "The file of its private key in PEM form, not encrypted",
    ),
    variable(
        "CHATCTL_KAFKA_TOPIC",
        "kafka-topic",
        Some("chatctl-hints"),
        Kind::Text {
            name: "NAME",
            allowed: "up to 249 letters, digits, dots, underscores and dashes",
        },
        "The one topic of the KAFKA engine; init-env creates it",
    ),
    variable(
        "CHATCTL_KAFKA_PARTITIONS",
        "kafka-partitions",
        Some("16"),
        Kind::Number { unit: "COUNT", min: 1, max: 1024 },
        "Partitions of that topic; fixed once it is created",
    ),
    variable(
        "CHATCTL_KAFKA_READ",
        "kafka-read",
        Some("all"),
        choice(&["all", "open"]),
        "Partitions that a node reads: all; or open, those of conversations that are open on it, so that its work does not grow with everybody's. The same on every node",
    ),
    variable(
        "CASSANDRA_HOSTS",
        "cassandra-hosts",
        Some("127.0.0.1:9042"),
        ADDRESSES,
        "Nodes of the CASSANDRA engine to begin with; the others are learnt from them",
    ),
    variable(
        "CASSANDRA_KEYSPACE",
        "cassandra-keyspace",
        Some("chatctl"),
        Kind::Text {
            name: "NAME",
            allowed: "up to 48 lower-case letters, digits and underscores, a letter first",
        },
        "The keyspace of the CASSANDRA engine; init-env creates it",
    ),
    variable(
        "CHATCTL_CASSANDRA_DATACENTER",
        "cassandra-datacenter",
        Some("datacenter1"),
        Kind::Text { name: "NAME", allowed: "letters, digits, dots, underscores and dashes" },
        "The datacenter of Cassandra that is local to this server",
    ),
    variable(
        "CHATCTL_CASSANDRA_USER",
        "cassandra-user",
        None,
        Kind::Text { name: "NAME", allowed: "a name" },
        "The user of Cassandra, where it asks for one (PasswordAuthenticator)",
    ),
    Variable {
        secret: true,
        ..variable(
            "CHATCTL_CASSANDRA_PASSWORD",
            "cassandra-password",
            None,
            Kind::Text { name: "SECRET", allowed: "the password" },
            "The password of that user; flags can be seen by others on this machine, so rather in the environment",
        )
    },
    variable(
        "CHATCTL_CASSANDRA_TLS",
        "cassandra-tls",
        Some("no"),
        choice(&["no", "yes"]),
        "Reach Cassandra over TLS. Certificates of nodes must be for their IP addresses",
    ),
    variable(
        "CHATCTL_CASSANDRA_TLS_CA",
        "cassandra-tls-ca",
        None,
        PATH,
        "The file of certificates in PEM form whose owners may have issued those of nodes, beside whom the system trusts",
    ),
    variable(
        "CHATCTL_CASSANDRA_TRANSLATE",
        "cassandra-translate",
        None,
        Kind::Text {
            name: "PAIRS",
            allowed: "ip=ip:port pairs with commas between, like 10.0.0.1=192.0.2.1:9042 or ::1=[2001:db8::1]:9042",
        },
        "Where nodes of Cassandra are reached, when not where they say: their IP address=the address to use; others are reached where they say",
    ),
    Variable {
        secret: true,
        ..variable(
            "RIAK_URL",
            "riak-url",
            Some("http://127.0.0.1:8098"),
            Kind::Text { name: "URL", allowed: "http://host:port, without a user and a path" },
            "The HTTP API of a node of Riak, or what is in front of several. More than one server needs conditional_put_mode = prefer_token in riak.conf of every node",
        )
    },
    variable(
        "CHATCTL_RIAK_BUCKET_TYPE",
        "riak-bucket-type",
        Some("chatctl"),
        Kind::Text { name: "NAME", allowed: "letters, digits, dots, underscores and dashes" },
        "The bucket type of the RIAK engine, with allow_mult=true and sync_on_write=all; made by riak-admin",
    ),
    variable(
        "CHATCTL_LISTEN",
        "listen",
        Some("127.0.0.1:8080"),
        Kind::Address,
        "Where clients connect; port 0 takes a free one",
    ),
    variable(
        "CHATCTL_TLS_CERT",
        "tls-cert",
        None,
        PATH,
        "TLS for clients (wss): the file of the certificate in PEM form, the server's own first, then those that lead to its issuer. Read again when it and its key change",
    ),
    variable(
        "CHATCTL_TLS_KEY",
        "tls-key",
        None,
        PATH,
        "The file of its private key in PEM form, not encrypted",
    ),
    variable(
        "CHATCTL_ADMIN_LISTEN",
        "admin-listen",
        Some("127.0.0.1:8081"),
        Kind::Address,
        "Where operators look: /metrics and /readyz; port 0 takes a free one",
    ),
    variable(
        "CHATCTL_ADMIN_ADDRESS_FILE",
        "admin-address-file",
        None,
        Kind::Text { name: "PATH", allowed: "the path of a file in an existing folder" },
        "File to write the bound admin address to, before `ready` is printed",
    ),
    variable(
        "CHATCTL_DATA_DIR",
        "data-dir",
        Some("./data"),
        Kind::Text { name: "PATH", allowed: "the path of a folder" },
        "Folder of the LOCAL engine; made when missing",
    ),
    variable(
        "CHATCTL_LOCAL_SYNC",
        "local-sync",
        Some("always"),
        choice(&["always", "interval", "never", "memory"]),
        "When the LOCAL engine forces messages to the disk: before each answer (always, survives a power cut), now and then (interval), when the kernel likes (never), or it stores nothing at all (memory)",
    ),
    variable(
        "CHATCTL_LOCAL_SYNC_INTERVAL_MS",
        "local-sync-interval-ms",
        Some("100"),
        milliseconds(1),
        "Time between two syncs when CHATCTL_LOCAL_SYNC is interval",
    ),
    variable(
        "CHATCTL_LOCAL_RESERVE_BYTES",
        "local-reserve-bytes",
        Some("268435456"),
        bytes(0),
        "Free space on the disk below which the LOCAL engine refuses messages (storage_full)",
    ),
    variable(
        "CHATCTL_LOCAL_CACHE_BYTES",
        "local-cache-bytes",
        Some("268435456"),
        bytes(1 << 20),
        "Memory of the LOCAL engine for what it read or wrote last",
    ),
    variable(
        "CHATCTL_REQUIRE_DURABILITY",
        "require-durability",
        None,
        Kind::Text {
            name: "CLASS",
            allowed: "none, process, service or disk, or replicated+ before one",
        },
        "Refuse to start when an answered message would survive less than this",
    ),
    variable(
        "CHATCTL_PING_MS",
        "ping-ms",
        Some("25000"),
        milliseconds(10),
        "Time between two pings; a client unheard for this and 10 s more is closed with 4008",
    ),
    variable(
        "CHATCTL_DRAIN_MS",
        "drain-ms",
        Some("5000"),
        milliseconds(0),
        "Most time between a signal to stop and the end",
    ),
    variable(
        "CHATCTL_OUTBOX_BYTES_MAX",
        "outbox-bytes-max",
        Some("8388608"),
        // The largest answer, a page and its late messages: less would close clients that only read.
        bytes(2 << 20),
        "What may wait to be sent to one client; above, it is closed with 4408",
    ),
    variable(
        "CHATCTL_CONNECTIONS_MAX",
        "connections-max",
        Some("100000"),
        connections(1),
        "Clients at once; above, they are closed with 4504",
    ),
    variable(
        "CHATCTL_CONNECTIONS_PER_ADDRESS_MAX",
        "connections-per-address-max",
        Some("10000"),
        connections(0),
        "Connections of one address (IPv6: of one /64), HTTP included; above, clients get HTTP 429. 0: no limit, as behind a proxy, whose address all have",
    ),
    variable(
        "CHATCTL_CONNECTS_PER_S_MAX",
        "connects-per-s-max",
        Some("2000"),
        per_second("CONNECTIONS_PER_S"),
        "Connections that are accepted in a second, so that those that are here are served while everybody comes back. 0: no limit",
    ),
    variable(
        "CHATCTL_CONNECTIONS_PER_USER_MAX",
        "connections-per-user-max",
        Some("100"),
        connections(0),
        "Clients of one user at once on this node; above, they are closed with 4504 after hello. 0: no limit",
    ),
    variable(
        "CHATCTL_COMMANDS_PER_S_MAX",
        "commands-per-s-max",
        Some("2000"),
        per_second("PER_S"),
        "Commands of one client in a second; above, they are answered rate_limited. 0: no limit",
    ),
    variable(
        "CHATCTL_MESSAGES_PER_S_MAX",
        "messages-per-s-max",
        Some("1000"),
        per_second("PER_S"),
        "Messages that one client sends in a second; above, they are answered rate_limited. 0: no limit",
    ),
    variable(
        "CHATCTL_INCOMING_BYTES_PER_S_MAX",
        "incoming-bytes-per-s-max",
        Some("4194304"),
        per_second("BYTES_PER_S"),
        "Bytes of the commands of one client in a second; above, they are answered rate_limited. 0: no limit",
    ),
    variable(
        "CHATCTL_REPLY_BYTES_PER_S_MAX",
        "reply-bytes-per-s-max",
        Some("16777216"),
        per_second("BYTES_PER_S"),
        "Bytes of the replies to one client in a second; above, open, read and list are answered rate_limited. 0: no limit",
    ),
    variable(
        "CHATCTL_RATE_BURST_MS",
        "rate-burst-ms",
        Some("10000"),
        milliseconds(1),
        "What one client may do at once: as much as it may in this time",
    ),
    variable(
        "CHATCTL_RATE_SUSTAINED_MS",
        "rate-sustained-ms",
        Some("10000"),
        milliseconds(1_000),
        "A client that for this long asks for more than five times what it may is closed with 4029",
    ),
    variable(
        "CHATCTL_QUEUE_WAIT_MS",
        "queue-wait-ms",
        Some("500"),
        Kind::Number { unit: "MS", min: 0, max: 4_000 },
        "When even the quickest command waits longer than this for the engine, no more are taken on than it does in this time; the others are answered overloaded. 0: no limit",
    ),
    variable(
        "CHATCTL_HEADER_TIMEOUT_MS",
        "header-timeout-ms",
        Some("5000"),
        milliseconds(10),
        "Time for the head of an HTTP request, and before it for the handshake of TLS; also how long an idle HTTP connection is kept",
    ),
    variable(
        "CHATCTL_ALLOWED_ORIGINS",
        "allowed-origins",
        None,
        Kind::Text {
            name: "ORIGINS",
            allowed: "origins with commas between, such as https://chat.example,http://localhost:3000",
        },
        "Web pages of other hosts that may connect",
    ),
    variable(
        "CHATCTL_AUTH_SECRET_FILE",
        "auth-secret-file",
        None,
        PATH,
        "Authentication by HS256: the file of the secret that tokens are signed with, of 32 bytes or more, a line end at its end left out. Whoever reads it can make tokens",
    ),
    Variable {
        secret: true,
        ..variable(
            "CHATCTL_AUTH_SECRET",
            "auth-secret",
            None,
            Kind::Text { name: "SECRET", allowed: "32 bytes or more" },
            "The same secret itself; flags can be seen by others on this machine, so rather in a file",
        )
    },
    variable(
        "CHATCTL_AUTH_PUBLIC_KEY_FILE",
        "auth-public-key-file",
        None,
        PATH,
        "Authentication by EdDSA or RS256: the file of public keys in PEM form (Ed25519, RSA of 2048 bits or more); several while one follows the other. Read again when it changes",
    ),
    variable(
        "CHATCTL_AUTH_JWKS_FILE",
        "auth-jwks-file",
        None,
        PATH,
        "Authentication by a JSON Web Key Set (RFC 7517) in a file, which may hold a secret (oct) too. Read again when it changes",
    ),
    Variable {
        // Its query may hold a key of its own.
        secret: true,
        ..variable(
            "CHATCTL_AUTH_JWKS_URL",
            "auth-jwks-url",
            None,
            Kind::Text {
                name: "URL",
                allowed: "https://host[:port]/path, or http:// where nobody can come in between",
            },
            "Authentication by the JSON Web Key Set of an identity provider. While it is away the keys known last hold. Needs CHATCTL_AUTH_AUDIENCE",
        )
    },
    variable(
        "CHATCTL_AUTH_JWKS_REFRESH_MS",
        "auth-jwks-refresh-ms",
        Some("300000"),
        milliseconds(100),
        "How often CHATCTL_AUTH_JWKS_URL is asked; also at once for a key that is not known yet (CHATCTL_AUTH_JWKS_PAUSE_MS)",
    ),
    variable(
        "CHATCTL_AUTH_JWKS_PAUSE_MS",
        "auth-jwks-pause-ms",
        Some("5000"),
        milliseconds(100),
        "Least time between two looks for keys because of a token whose key (kid) is not known: nobody can make this server ask more often",
    ),
    variable(
        "CHATCTL_AUTH_ALGORITHMS",
        "auth-algorithms",
        None,
        Kind::Text { name: "NAMES", allowed: "HS256, EdDSA and RS256, with commas between" },
        "Which algorithms a token may be signed by; not set: those of the keys, from a JWKS EdDSA and RS256",
    ),
    variable(
        "CHATCTL_AUTH_AUDIENCE",
        "auth-audience",
        None,
        Kind::Text { name: "NAMES", allowed: "names with commas between" },
        "A token must be for one of these (aud); not set: it must have no aud",
    ),
    variable(
        "CHATCTL_AUTH_ISSUER",
        "auth-issuer",
        None,
        Kind::Text { name: "NAME", allowed: "the issuer's name, to the letter" },
        "A token must be issued by this one (iss); not set: by any who has a key",
    ),
    variable(
        "CHATCTL_AUTH_LEEWAY_MS",
        "auth-leeway-ms",
        Some("2000"),
        Kind::Number { unit: "MS", min: 0, max: 4_000 },
        "How far this clock and the issuer's may be apart: added to exp, taken from nbf and iat",
    ),
    variable(
        "CHATCTL_AUTH_TOKEN_LIFE_MS_MAX",
        "auth-token-life-ms-max",
        Some("2592000000"),
        Kind::Number { unit: "MS", min: 1_000, max: 366 * DAY_MS },
        "A token that lives longer (exp - iat) is refused; so long a revocation is kept. The same on every node",
    ),
    variable(
        "CHATCTL_AUTH_NOTICE_MS",
        "auth-notice-ms",
        Some("60000"),
        milliseconds(0),
        "How long before its token expires a session is told so (token_expiring); of a token with less than twice as long, at half of what is left",
    ),
    variable(
        "CHATCTL_INSECURE_NO_AUTH",
        "insecure-no-auth",
        Some("no"),
        choice(&["no", "yes"]),
        "Listen on an address that others can reach although no key is set (CHATCTL_AUTH_...): everybody is who they say they are",
    ),
    Variable {
        secret: true,
        ..variable(
            "CHATCTL_ADMIN_TOKEN",
            "admin-token",
            None,
            Kind::Text { name: "TEXT", allowed: "16 to 200 visible ASCII characters" },
            "What whoever revokes must show (Authorization: Bearer ...); not set: a loopback address is enough, and on others nobody can",
        )
    },
    variable(
        "CHATCTL_LOG",
        "log",
        Some("info"),
        Kind::Text {
            name: "FILTER",
            allowed: "error, warn, info, debug or trace, or target=level pairs with commas between",
        },
        "What is logged to stderr",
    ),
    variable(
        "CHATCTL_LOG_FORMAT",
        "log-format",
        Some("text"),
        choice(&["text", "json"]),
        "How it is logged",
    ),
];

/// What a server does wrong on purpose. Not in the table: it is no setting of a server that people run.
#[cfg(feature = "faults")]
pub static FAULT: Variable = variable(
    "CHATCTL_FAULT",
    "fault",
    None,
    Kind::Text {
        name: "FAULT",
        allowed: "a name in the table of src/faults/table.rs, burn-cpu:<µs>, or crash-<point>:<n>",
    },
    "The promise to break, or the CPU time to waste on each message",
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_and_flags_are_unique_and_numbers_end_in_their_unit() {
        let keys: BTreeSet<_> = VARIABLES.iter().map(|variable| variable.key).collect();
        let flags: BTreeSet<_> = VARIABLES.iter().map(|variable| variable.flag).collect();
        assert_eq!((keys.len(), flags.len()), (VARIABLES.len(), VARIABLES.len()));
        for variable in VARIABLES {
            if let Kind::Number { unit: unit @ ("MS" | "BYTES"), .. } = variable.kind {
                let has_unit = variable.key.trim_end_matches("_MAX").ends_with(unit);
                assert!(has_unit, "{}", variable.key);
            }
        }
    }
}
