//! Nexmark's events, drawn as the published generator draws them and always the same: of fifty, one
//! is a person, three are auctions and forty-six are bids, a file for each kind.

use std::{
    fs::File,
    io::{BufWriter, Result, Write},
    path::Path,
};

use chrono::DateTime;
use serde_json::json;

use crate::generate::Random;

/// Of so many events in a row the first are persons, then auctions, and the others bids.
const ROUND: u64 = 50;
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
/// Events of a second of event time.
const PER_SECOND: u64 = 10_000;
/// Midnight of 15 July 2015, in milliseconds: when the published generator begins.
const BEGINS: u64 = 1_436_918_400_000;
/// The first number of a person and of an auction.
const FIRST: u64 = 1_000;
/// Of each so many persons and auctions one is hot.
const HOT: u64 = 100;
/// Numbers that are named before whoever or whatever has them has come.
const LEAD: u64 = 10;
/// Auctions that are bid for at a time, and persons who bid and sell.
const IN_FLIGHT: u64 = 100;
const ACTIVE: u64 = 1_000;
/// What a row has in bytes on average, by the generator's count.
const PERSON_BYTES: u64 = 200;
const AUCTION_BYTES: u64 = 500;
const BID_BYTES: u64 = 100;
const CHANNELS: u64 = 10_000;
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const FIRST_NAMES: [&str; 11] = [
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];

/// How many lines each file has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub persons: u64,
    pub auctions: u64,
    pub bids: u64,
}

/// Writes so many events as `persons.ndjson`, `auctions.ndjson` and `bids.ndjson`.
pub fn write(folder: &Path, events: u64) -> Result<Counts> {
    let create = |name| File::create(folder.join(name)).map(BufWriter::new);
    let mut persons = create("persons.ndjson")?;
    let mut auctions = create("auctions.ndjson")?;
    let mut bids = create("bids.ndjson")?;
    let (mut random, mut counts) = (Random(0), Counts::default());
    for event in 0..events {
        let random = &mut random;
        match event % ROUND {
            0..PERSONS => {
                counts.persons += 1;
                person(&mut persons, event, random)?;
            }
            at if at < PERSONS + AUCTIONS => {
                counts.auctions += 1;
                auction(&mut auctions, event, random)?;
            }
            _ => {
                counts.bids += 1;
                bid(&mut bids, event, random)?;
            }
        }
    }
    for file in [&mut persons, &mut auctions, &mut bids] {
        file.flush()?;
    }
    Ok(counts)
}

fn person(file: &mut impl Write, event: u64, random: &mut Random) -> Result<()> {
    let id = FIRST + last_person(event);
    let name = format!("{} {}", one_of(&FIRST_NAMES, random), one_of(&LAST_NAMES, random));
    let email = format!("{}@{}.com", text(7, ' ', random), text(5, ' ', random));
    let card = [(); 4].map(|()| format!("{:04}", random.below(10_000))).join(" ");
    let (city, state) = (one_of(&CITIES, random), one_of(&STATES, random));
    let filled = 8 + [&name, &email, &card, city, state].map(length).iter().sum::<u64>();
    let line = json!({
        "id": id,
        "name": name,
        "email_address": email,
        "credit_card": card,
        "city": city,
        "state": state,
        "date_time": instant(milliseconds(event)),
        "extra": extra(filled, PERSON_BYTES, random),
    });
    writeln!(file, "{line}")
}

fn auction(file: &mut impl Write, event: u64, random: &mut Random) -> Result<()> {
    let id = FIRST + last_auction(event);
    let seller = FIRST
        + match random.below(4) {
            0 => any_person(event, random),
            _ => last_person(event) / HOT * HOT,
        };
    let category = 10 + random.below(5);
    let initial_bid = price(random);
    let (item, description) = (text(20, ' ', random), text(100, ' ', random));
    let filled = 6 * 8 + length(&item) + length(&description);
    // It ends, on average, when as many auctions more have begun as are in flight.
    let horizon = IN_FLIGHT * ROUND / AUCTIONS * 1_000 / PER_SECOND;
    let begins = milliseconds(event);
    let line = json!({
        "id": id,
        "item_name": item,
        "description": description,
        "initial_bid": initial_bid,
        "reserve": initial_bid + price(random),
        "date_time": instant(begins),
        "expires": instant(begins + 1 + random.below(2 * horizon)),
        "seller": seller,
        "category": category,
        "extra": extra(filled, AUCTION_BYTES, random),
    });
    writeln!(file, "{line}")
}

fn bid(file: &mut impl Write, event: u64, random: &mut Random) -> Result<()> {
    let auction = FIRST
        + match random.below(2) {
            0 => any_auction(event, random),
            _ => last_auction(event) / HOT * HOT,
        };
    // The second of a hundred, so that who is hot as a bidder is not so as a seller.
    let bidder = FIRST
        + match random.below(4) {
            0 => any_person(event, random),
            _ => last_person(event) / HOT * HOT + 1,
        };
    let price = price(random);
    let (channel, url) = match random.below(2) {
        0 => {
            let number = random.below(CHANNELS);
            (format!("channel-{number}"), format!("{}&channel_id={number}", url(number)))
        }
        _ => {
            let number = random.below(HOT_CHANNELS.len() as u64);
            (HOT_CHANNELS[index(number)].to_owned(), url(CHANNELS + number))
        }
    };
    let line = json!({
        "auction": auction,
        "bidder": bidder,
        "price": price,
        "channel": channel,
        "url": url,
        "date_time": instant(milliseconds(event)),
        "extra": extra(4 * 8, BID_BYTES, random),
    });
    writeln!(file, "{line}")
}

/// The number of the last person who has come, from zero.
const fn last_person(event: u64) -> u64 {
    event / ROUND
}

/// The number of the last auction that was opened, from zero; there is one where this is asked.
fn last_auction(event: u64) -> u64 {
    event / ROUND * AUCTIONS + (event % ROUND).saturating_sub(PERSONS).min(AUCTIONS - 1)
}

fn any_person(event: u64, random: &mut Random) -> u64 {
    let come = last_person(event) + 1;
    let active = come.min(ACTIVE);
    come - active + random.below(active + LEAD)
}

fn any_auction(event: u64, random: &mut Random) -> u64 {
    let last = last_auction(event);
    let first = last.saturating_sub(IN_FLIGHT);
    first + random.below(last - first + 1 + LEAD)
}

/// Cents from a dollar up to a million, each power of ten as likely as another.
fn price(random: &mut Random) -> u64 {
    let decade = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000][index(random.below(6))];
    loop {
        let drawn = decade + random.below(9 * decade);
        // The larger, the rarer: so the logarithm is uniform, without a float.
        if random.below(drawn) < decade {
            return drawn;
        }
    }
}

const fn milliseconds(event: u64) -> u64 {
    BEGINS + event * 1_000 / PER_SECOND
}

fn instant(milliseconds: u64) -> String {
    let instant = i64::try_from(milliseconds).ok().and_then(DateTime::from_timestamp_millis);
    instant.unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

/// The address of a channel, always the same.
fn url(channel: u64) -> String {
    let mut random = Random(channel);
    let path = [(); 3].map(|()| text(5, '_', &mut random)).join("/");
    format!("https://www.nexmark.com/{path}/item.htm?query=1")
}

/// What fills a row up to its average size, a fifth more or less.
fn extra(filled: u64, average: u64, random: &mut Random) -> String {
    let wanted = average.saturating_sub(filled);
    let more_or_less = wanted / 5;
    let length = wanted - more_or_less + random.below((2 * more_or_less).max(1));
    (0..length).map(|_| letter(random)).collect()
}

/// Three letters or more, below `most`, with something special now and then.
fn text(most: u64, special: char, random: &mut Random) -> String {
    let length = 3 + random.below(most - 3);
    let drawn = |_| match random.below(13) {
        0 => special,
        _ => letter(random),
    };
    (0..length).map(drawn).collect::<String>().trim().to_owned()
}

fn letter(random: &mut Random) -> char {
    char::from(b"abcdefghijklmnopqrstuvwxyz"[index(random.below(26))])
}

fn one_of<'a>(of: &[&'a str], random: &mut Random) -> &'a str {
    of[index(random.below(of.len() as u64))]
}

fn index(drawn: u64) -> usize {
    usize::try_from(drawn).unwrap_or(usize::MAX)
}

fn length(text: &str) -> u64 {
    text.len() as u64
}
