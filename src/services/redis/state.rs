//! What a Redis says of itself, and what to think of it.

use std::collections::HashMap;

use super::super::Health;

/// `INFO`, and the settings unless it forbids to read them.
#[derive(Debug)]
pub(super) struct State {
    info: HashMap<String, String>,
    settings: Option<HashMap<String, String>>,
}

impl State {
    pub(super) fn new(info: &str, settings: Option<HashMap<String, String>>) -> Self {
        let pairs = info.lines().filter_map(|line| line.trim().split_once(':'));
        let info = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { info, settings }
    }

    /// The pid by its own account.
    pub(super) fn process_id(&self) -> Option<u32> {
        self.info("process_id")?.parse().ok()
    }

    /// Its health, or why it has none.
    pub(super) fn judged(&self) -> Result<Health, String> {
        if let Some(flaw) = self.flaw() {
            return Err(flaw);
        }
        let version = self.info("valkey_version").or_else(|| self.info("redis_version"));
        Ok(Health { version: version.map(str::to_owned), durability: self.durability() })
    }

    fn flaw(&self) -> Option<String> {
        if self.info("loading") == Some("1") {
            let percent = self.info("loading_loaded_perc").unwrap_or("?");
            return Some(format!("it loads its data ({percent} %); wait"));
        }
        if self.info("role").is_some_and(|role| role != "master") {
            let master = self.info("master_host").unwrap_or("?");
            return Some(format!("it is a replica; use its primary ({master})"));
        }
        if let Some(policy) =
            self.setting("maxmemory-policy").filter(|&policy| policy != "noeviction")
        {
            return Some(format!(
                "maxmemory-policy {policy} drops messages when memory is short; run: CONFIG SET maxmemory-policy noeviction"
            ));
        }
        for (key, what) in [
            ("aof_last_write_status", "its last write to the append-only file failed"),
            ("rdb_last_bgsave_status", "its last snapshot failed"),
        ] {
            if self.info(key).is_some_and(|status| status != "ok") {
                return Some(format!(
                    "{what}, and it refuses writes until one succeeds; look at its disk and its log"
                ));
            }
        }
        let bytes = |key| self.info(key)?.parse::<u64>().ok();
        let (used, most) = (bytes("used_memory")?, bytes("maxmemory").filter(|&most| most > 0)?);
        (used >= most).then(|| {
            format!("its memory is full ({used} of {most} bytes), and it refuses writes; raise maxmemory")
        })
    }

    /// The settings as they are, and what the weaker ones may cost.
    fn durability(&self) -> String {
        let Some(settings) = &self.settings else {
            return "unknown: CONFIG GET is forbidden".to_owned();
        };
        let of = |name: &str| settings.get(name).map_or("?", String::as_str);
        let policy = of("maxmemory-policy");
        match (of("appendonly"), of("appendfsync"), of("save")) {
            ("yes", "always", _) => format!("appendonly yes, appendfsync always, {policy}"),
            ("yes", "everysec", _) => format!(
                "appendonly yes, appendfsync everysec, {policy}: a power cut may take the last seconds; CONFIG SET appendfsync always"
            ),
            ("yes", sync, _) => format!(
                "appendonly yes, appendfsync {sync}, {policy}: a power cut may take what was not synced; CONFIG SET appendfsync always"
            ),
            (append, _, "") => format!(
                "appendonly {append}, no snapshots, {policy}: a restart takes everything; CONFIG SET appendonly yes"
            ),
            (append, _, save) => format!(
                "appendonly {append}, snapshots {save}, {policy}: a restart may take what came after the last snapshot; CONFIG SET appendonly yes"
            ),
        }
    }

    fn info(&self, key: &str) -> Option<&str> {
        self.info.get(key).map(String::as_str)
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.as_ref()?.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nprocess_id:42\r\nloading:0\r\naof_last_write_status:ok\r\nrole:master\r\nused_memory:1000\r\nmaxmemory:0\r\n";

    fn settings(
        appendonly: &str,
        appendfsync: &str,
        save: &str,
        policy: &str,
    ) -> Option<HashMap<String, String>> {
        let pairs = [
            ("appendonly", appendonly),
            ("appendfsync", appendfsync),
            ("save", save),
            ("maxmemory-policy", policy),
        ];
        Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    #[test]
    fn a_healthy_one_tells_its_version_and_durability() {
        let state = State::new(INFO, settings("yes", "always", "", "noeviction"));
        let health = state.judged().unwrap();
        assert_eq!(state.process_id(), Some(42));
        assert_eq!(health.version.as_deref(), Some("7.0.15"));
        assert_eq!(health.durability, "appendonly yes, appendfsync always, noeviction");
        let valkey = format!("redis_version:7.2.4\r\nvalkey_version:9.1.2\r\n{}", &INFO[30..]);
        assert_eq!(State::new(&valkey, None).judged().unwrap().version.as_deref(), Some("9.1.2"));
    }

    #[rstest]
    #[case(None, "unknown: CONFIG GET is forbidden")]
    #[case(settings("yes", "everysec", "", "noeviction"), "CONFIG SET appendfsync always")]
    #[case(settings("yes", "no", "", "noeviction"), "CONFIG SET appendfsync always")]
    #[case(settings("no", "always", "", "noeviction"), "a restart takes everything")]
    #[case(settings("no", "always", "3600 1", "noeviction"), "snapshots 3600 1")]
    fn weaker_durability_is_told_and_no_flaw(
        #[case] settings: Option<HashMap<String, String>>,
        #[case] part: &str,
    ) {
        let durability = State::new(INFO, settings).judged().unwrap().durability;
        assert!(durability.contains(part), "{durability}");
    }

    #[rstest]
    #[case("loading:0", "loading:1\r\nloading_loaded_perc:43.1", "loads its data (43.1 %)")]
    #[case("role:master", "role:slave\r\nmaster_host:10.0.0.9", "use its primary (10.0.0.9)")]
    #[case("aof_last_write_status:ok", "aof_last_write_status:err", "append-only file failed")]
    #[case("role:master", "role:master\r\nrdb_last_bgsave_status:err", "snapshot failed")]
    #[case("maxmemory:0", "maxmemory:1000", "memory is full")]
    fn what_it_says_of_a_flaw_is_told(#[case] well: &str, #[case] ill: &str, #[case] part: &str) {
        let state =
            State::new(&INFO.replace(well, ill), settings("yes", "always", "", "noeviction"));
        let flaw = state.judged().unwrap_err();
        assert!(flaw.contains(part), "{flaw}");
    }

    #[test]
    fn eviction_is_a_flaw() {
        let flaw =
            State::new(INFO, settings("yes", "always", "", "allkeys-lru")).judged().unwrap_err();
        assert!(flaw.contains("CONFIG SET maxmemory-policy noeviction"), "{flaw}");
    }
}
