#!/bin/bash
# Writes our settings into the image's cassandra.yaml, then does what the image does. The image has variables for
# addresses and tokens only, and changes the file itself: it cannot be mounted read-only.
set -eu
file=${CASSANDRA_CONF:-/etc/cassandra}/cassandra.yaml

# Replaces a setting of one line, commented out or not; a container that starts again has it already.
put() {
  sed -i -E "/^(# ?)?$1:/d" "$file"
  printf '%s: %s\n' "$1" "$2" >>"$file"
}

# Removes a setting: a period beside batch mode is an error.
without() {
  sed -i -E "/^(# ?)?$1:/d" "$file"
}

put initial_token "\"$CHATCTL_INITIAL_TOKEN\""
put auto_bootstrap false
put commitlog_sync batch
without commitlog_sync_period
put commitlog_segment_size 16MiB
put commitlog_total_space 256MiB
put memtable_heap_space 96MiB
put memtable_offheap_space 64MiB
put file_cache_size 32MiB
put networking_cache_size 16MiB
put key_cache_size 8MiB
put prepared_statements_cache_size 8MiB
put concurrent_reads 4
put concurrent_writes 32
put concurrent_counter_writes 4
put native_transport_max_threads 8
put concurrent_compactors 1
put auto_snapshot false
put dynamic_snitch false
put paxos_variant v2
put write_request_timeout 2000ms
put cas_contention_timeout 1800ms

# The collector of our own nodes: with half a gigabyte its pauses are shorter. Two collectors are an error, so the image's
# own choice is replaced where it stands.
for options in "${file%/*}"/jvm*-server.options; do
  sed -i 's/^-XX:+UseG1GC$/-XX:+UseSerialGC/' "$options"
done

exec docker-entrypoint.sh "$@"
