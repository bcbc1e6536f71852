//! `chatctl bench paired-clients --find-max …`: the search, shown.

use tokio_util::sync::CancellationToken;

use super::failed;
use crate::bench::find_max::{self, FindMaxOptions, Found, Trial};
use crate::command::{Exit, print_out};

/// Searches, and prints the rate that was found.
pub(super) async fn run(
    options: &FindMaxOptions,
    json: bool,
    cancel: &CancellationToken,
) -> anyhow::Result<Exit> {
    let told = |trial: &Trial| eprintln!("{}", line(trial));
    let found = match Box::pin(find_max::run(options, cancel, told)).await {
        Ok(found) => found,
        Err(error) => return failed(error),
    };
    let text = match json {
        true => {
            let best = serde_json::json!({"best_per_s": found.best_per_s, "trials": found.trials});
            serde_json::to_string_pretty(&best)? + "\n"
        }
        false => match found.best_per_s {
            Some(best) => format!(
                "{best:.0} messages/s is the highest rate at which {} holds\n",
                options.goal.expression()
            ),
            None => format!("no rate was found at which {} holds\n", options.goal.expression()),
        },
    };
    print_out(&text)?;
    eprintln!("kept in {}", found.folder.display());
    Ok(exit_of(&found))
}

fn line(trial: &Trial) -> String {
    let Trial { rate_per_s, holds, why, .. } = trial;
    match holds {
        true => format!("{rate_per_s:.0}/s holds"),
        false => format!("{rate_per_s:.0}/s does not hold: {why}"),
    }
}

fn exit_of(found: &Found) -> Exit {
    match found {
        Found { invalid: true, .. } => Exit::Validity,
        Found { aborted: false, best_per_s: Some(_), .. } => Exit::Pass,
        _ => Exit::Inconclusive,
    }
}
