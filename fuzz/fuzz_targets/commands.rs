//! What a host calls, in which order, what fails and when the power goes, as the bytes decide: the
//! simulation with a fuzzer in place of its chance. The first byte says how many engines there are.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tillite::testing::sim::Simulation;

static SIMULATIONS: LazyLock<[Simulation; 2]> = LazyLock::new(|| [1, 2].map(|count| Simulation::new().engines(count)));

fuzz_target!(|bytes: &[u8]| {
    let Some((engines, bytes)) = bytes.split_first() else {
        return;
    };
    if let Err(violation) = SIMULATIONS[usize::from(engines % 2)].run_bytes(bytes) {
        panic!("{violation}");
    }
});
