//! Progress on a terminal: bars on standard error for long work, nothing where nobody looks.

use std::{io::IsTerminal, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The bars of one command.
#[derive(Clone, Debug)]
pub struct Progress {
    bars: MultiProgress,
}

impl Progress {
    /// Bars on standard error; hidden where it is no terminal or `quiet` is asked for.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let target =
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target) }
    }

    /// A bar for `what`, counting in records.
    #[must_use]
    pub fn bar(&self, what: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(
            "{prefix:<14} {spinner} {human_pos:>12} {per_sec:>14}  {elapsed:>6} {msg}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style));
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}
