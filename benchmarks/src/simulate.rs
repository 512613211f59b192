//! The replay of `avis simulate` over sales that were just recorded, under the registry that decided them,
//! beside the aim and beside reading their stream alone. It has to give exactly what happened, limits
//! that were reached included: where it does not there is no ratio.

use std::{sync::Arc, time::Instant};

use authoriser::replay::{Compared, Progress, play};
use ingest::{
    error::LogError,
    log::{self, Log},
    topic::Topic,
};

use crate::{shared::sales, till::Till};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Transactions a second.
const AIM: f64 = 300_000.0;
/// Fewer units of milk a day than each card asks for, so that limits decide, too.
const MILK: u32 = 3;

/// Prints a row for the aim and one for the stream.
pub async fn measure() -> Result<()> {
    let till = Till::rationed(MILK).await?;
    sales(&till).await?;
    let (log, rules) = (Arc::clone(&till.handle.parts().log), till.handle.rules());
    let mut told = Told::default();
    let started = Instant::now();
    let played = play(&log, &rules, None, |at| told.enter(at)).await?;
    let rate = played as f64 / started.elapsed().as_secs_f64();
    told.check(played, recorded(&*log)?)?;
    let started = Instant::now();
    log::replay(&log, Topic::Authorisations, |_| Ok::<_, LogError>(())).await?;
    let read = played as f64 / started.elapsed().as_secs_f64();
    let what = "transactions simulated under their own registry";
    crate::row(what, rate, "aim", AIM);
    crate::row(what, rate, "reading their stream", read);
    crate::say(format!("|   {played} transactions, {} of them cut by a limit | | | | |", told.cut));
    till.close().await
}

/// How many records the stream of decisions has.
fn recorded(log: &dyn Log) -> std::result::Result<u64, LogError> {
    let (topic, mut records) = (Topic::Authorisations, 0);
    for partition in 0..log.partitions(topic) {
        records += log.end(topic, partition)? - log.start(topic, partition)?;
    }
    Ok(records)
}

/// What the replay told.
#[derive(Debug, Default)]
struct Told {
    /// Transactions that gave something, or would have without a limit.
    gave: u64,
    /// Those of them that a limit cut.
    cut: u64,
    /// The first that gives something else now.
    differs: Option<Compared>,
}

impl Told {
    fn enter(&mut self, at: Progress) {
        let Some(compared) = at.compared else { return };
        self.gave += 1;
        self.cut += u64::from(compared.then.iter().any(|part| part.limited > 0));
        if self.differs.is_none() && compared.then != compared.now {
            self.differs = Some(compared);
        }
    }

    /// Fails unless everything that was recorded was played and gave what it gave. Every sale here gives
    /// something: bread has no limit that is reached.
    fn check(&self, played: u64, recorded: u64) -> Result<()> {
        if let Some(Compared { authorisation, then, now, .. }) = &self.differs {
            return Err(format!("{authorisation:?} gave {then:?} and gives {now:?}").into());
        }
        if played != recorded || self.gave != recorded {
            let gave = self.gave;
            return Err(format!("{recorded} recorded, {played} played, {gave} gave").into());
        }
        if self.cut == 0 {
            return Err(format!("none of {played} sales reached a limit").into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use authoriser::replay::Part;
    use domain::id::{AuthorisationId, InstructionId};

    use super::{Compared, Progress, Told};

    fn compared(then: i64, now: i64) -> Compared {
        let part = |cents| Part {
            instruction: InstructionId::new("milk").expect("an id"),
            uses: 1,
            cents,
            grantor_cents: cents,
            limited: 1,
        };
        Compared {
            authorisation: AuthorisationId::from_u128(1),
            day: "2025-01-04".parse().expect("a day"),
            territory: "LV0001000".into(),
            recipient: None,
            pseudonym: None,
            then: vec![part(then)],
            now: vec![part(now)],
        }
    }

    #[test]
    fn one_cent_that_differs_or_one_record_too_few_fails() {
        let told = |all: &[(i64, i64)]| {
            let mut told = Told::default();
            for (then, now) in all {
                told.enter(Progress { played: 1, compared: Some(compared(*then, *now)) });
            }
            told
        };
        assert!(told(&[(10, 10), (20, 20)]).check(2, 2).is_ok());
        assert!(told(&[(10, 10), (20, 21)]).check(2, 2).is_err());
        assert!(told(&[(10, 10), (20, 20)]).check(2, 3).is_err());
        assert!(told(&[(10, 10)]).check(2, 2).is_err(), "one gave nothing");
    }
}
