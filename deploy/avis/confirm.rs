//! Asks before what cannot be undone. A script says `--yes`: nobody is asked whose input is no terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Goes on where `--yes` was said, or where whoever sits at the terminal says so.
///
/// # Errors
/// Where nobody can be asked, or they do not want it.
pub fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{what}: say --yes if that is meant")));
    }
    ask(what, &mut io::stdin().lock(), &mut io::stderr().lock())
}

fn ask(what: &str, from: &mut impl BufRead, to: &mut impl Write) -> Result<(), Failure> {
    write!(to, "{what}. Go on? [y/N] ")?;
    to.flush()?;
    let mut answer = String::new();
    from.read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::State("nothing was changed".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_goes_on() {
        for (answer, goes_on) in [
            ("y\n", true),
            ("YES\n", true),
            ("\n", false),
            ("", false),
            ("n\n", false),
            ("yy", false),
        ] {
            let mut told = Vec::new();
            let asked = ask("it would be gone", &mut answer.as_bytes(), &mut told);
            assert_eq!(asked.is_ok(), goes_on, "{answer:?}");
            assert_eq!(told, b"it would be gone. Go on? [y/N] ");
        }
        let refused = ask("it would be gone", &mut "n".as_bytes(), &mut Vec::new());
        assert_eq!(refused.expect_err("no").exit_code(), 1);
    }
}
