//! What an operation costs in instructions: counted exactly, and held against a budget (`.ci/instructions.budgets`).
//!
//! Times say on a shared machine what the machine did; a count says what the program did. The test below runs this very program under
//! callgrind, once for each operation: a run makes everything ready, then does the operation a number of times between two [`mark`]s,
//! and only what lies between them counts, of all threads. Operations stand in the folders of what they call (`instructions.rs`).
//!
//! Budgets are for the optimised build on x86-64. Any other build looks only at those operations that are compared with each other: a
//! newest page costs the same in a large conversation, and each further member of one costs the same.

mod budgets;
mod callgrind;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use self::budgets::{Budgets, Count};
use self::callgrind::Callgrind;
use crate::harness::seeds::asked;
use crate::{chat, persistence, protocol, server};

/// The allocator of the program: it is part of what an operation costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something whose instructions are counted.
pub(crate) struct Operation {
    /// As the budgets name it.
    pub name: &'static str,
    /// How often it is done between the marks: what a single one costs may depend on where a table grows.
    pub times: usize,
    /// Does it that often, between two [`mark`]s.
    pub run: fn(usize),
}

impl Operation {
    /// One more.
    pub(crate) const fn new(name: &'static str, times: usize, run: fn(usize)) -> Self {
        Self { name, times, run }
    }
}

/// What people write.
pub(crate) const CONTENT: &str = "Shall we meet at half past seven, in front of the station?";

/// Counting begins here, or ends here. Called twice in each run; callgrind knows it by its name.
#[inline(never)]
pub(crate) fn mark() {
    // It must be called, and be nothing else's code.
    std::hint::black_box("mark of the counted instructions");
}

/// This build is what the budgets are for.
const HAS_BUDGETS: bool = cfg!(target_arch = "x86_64") && is_optimised();

const fn is_optimised() -> bool {
    matches!(env!("CHATCTL_OPT_LEVEL").as_bytes(), b"3")
}

/// Messages in a large conversation; where nothing is optimised, fewer will do.
pub(crate) const LARGE: usize = if is_optimised() { 100_000 } else { 10_000 };
/// Messages in a small one.
pub(crate) const SMALL: usize = 1_000;

/// Those that are compared with each other.
const COMPARED: [&str; 7] = [
    "page.recent.small",
    "page.recent.large",
    "page.tables.small",
    "page.tables.large",
    "fan_out.1",
    "fan_out.10",
    "fan_out.100",
];

fn operations() -> Vec<Operation> {
    let mut all = protocol::instructions::operations();
    all.extend(server::instructions::operations());
    all.extend(persistence::local::instructions::operations());
    all.extend(chat::instructions::operations());
    all
}

fn budgets_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(budgets::FILE)
}

#[test]
fn no_operation_costs_more_than_its_budget() {
    let Some(callgrind) = Callgrind::find() else { return };
    let is_counted = |operation: &Operation| HAS_BUDGETS || COMPARED.contains(&operation.name);
    let counts: Vec<Count> = operations()
        .iter()
        .filter(|operation| is_counted(operation))
        .map(|operation| Count {
            name: operation.name,
            instructions: callgrind.count(operation).unwrap_or_else(|error| panic!("{error}")),
        })
        .collect();
    for count in &counts {
        eprintln!("{:<24}{:>9}", count.name, count.instructions);
    }
    compare(&counts);
    if !HAS_BUDGETS {
        return;
    }
    if asked::<String>("CHATCTL_TEST_BUDGETS").as_deref() == Some("write") {
        std::fs::write(budgets_path(), Budgets::text_for(&counts)).unwrap();
    }
    let text = std::fs::read_to_string(budgets_path()).unwrap();
    let budgets = Budgets::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let judged = budgets.judge(&counts);
    for line in &judged.too_generous {
        // Past the test harness, which shows nothing of what passes.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    assert!(judged.failures.is_empty(), "{}", judged.failures.join("\n"));
}

/// What holds in every build.
fn compare(counts: &[Count]) {
    let of = |name: &str| {
        let count = counts.iter().find(|count| count.name == name);
        count.unwrap_or_else(|| panic!("{name} was not counted")).instructions as f64
    };
    // The tables are trees, some levels higher in the large one.
    for (source, growth_max) in [("recent", 1.05), ("tables", 1.5)] {
        let (small, large) =
            (of(&format!("page.{source}.small")), of(&format!("page.{source}.large")));
        assert!(
            large <= small * growth_max,
            "a newest page ({source}) costs {small} instructions among {SMALL} messages, and {large} among {LARGE}"
        );
    }
    let (one, ten, hundred) = (of("fan_out.1"), of("fan_out.10"), of("fan_out.100"));
    let (early, late) = ((ten - one) / 9.0, (hundred - ten) / 90.0);
    assert!(
        late <= early * 1.1 && early < one / 2.0,
        "a message costs {early:.0} instructions for each of members 2 to 10, {late:.0} for each of 11 to 100, {one} for the first"
    );
}

/// What [`Callgrind::count`] runs.
#[test]
#[ignore = "is run under callgrind, with CHATCTL_TEST_OPERATION"]
fn counted() {
    let asked: String = asked("CHATCTL_TEST_OPERATION").expect("CHATCTL_TEST_OPERATION names one");
    // The recorder of a server: what an operation counts costs something, too.
    server::install_metrics().unwrap();
    let operation = operations().into_iter().find(|operation| operation.name == asked);
    let operation = operation.unwrap_or_else(|| panic!("there is no operation {asked:?}"));
    (operation.run)(operation.times);
}
