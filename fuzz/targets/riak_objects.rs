#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| chatctl::fuzzing::riak_objects(input));
