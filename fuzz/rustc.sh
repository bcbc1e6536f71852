#!/bin/sh
# For RUSTC_WORKSPACE_WRAPPER: compiles the crates of this workspace with what libFuzzer watches (the flags that cargo-fuzz passes; they need no
# nightly), and arithmetic that overflows is found. Dependencies are compiled as ever and shared with every other build: their code is
# not watched, and they are not compiled twice.
case " $* " in
*" --crate-name build_script_build "* | *" --print"*) exec "$@" ;;
*" --crate-name "*)
  exec "$@" -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cdebug-assertions=on -Coverflow-checks=on -Copt-level=0 -Cstrip=debuginfo
  ;;
*) exec "$@" ;;
esac
