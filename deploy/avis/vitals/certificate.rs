//! When a certificate ends: the one field of X.509 that operators have to watch.

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, NaiveDateTime, Utc};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Until when the first certificate of a text in PEM holds; none where it is no certificate.
#[must_use]
pub fn expiry(pem: &str) -> Option<DateTime<Utc>> {
    let (_, rest) = pem.split_once(BEGIN)?;
    let (text, _) = rest.split_once(END)?;
    let text: String = text.split_whitespace().collect();
    not_after(&BASE64_STANDARD.decode(text).ok()?)
}

fn not_after(der: &[u8]) -> Option<DateTime<Utc>> {
    let certificate = Part::read(der)?.within(SEQUENCE)?;
    let mut fields = Part::read(certificate)?.within(SEQUENCE)?;
    // The version may be left out; number, algorithm and issuer stand before the validity.
    let first = Part::read(fields)?;
    let before = if first.tag == VERSION { 4 } else { 3 };
    for _ in 0..before {
        fields = Part::read(fields)?.rest;
    }
    let validity = Part::read(fields)?.within(SEQUENCE)?;
    let until = Part::read(Part::read(validity)?.rest)?;
    let text = std::str::from_utf8(until.content).ok()?.strip_suffix('Z')?;
    let text = match until.tag {
        // Two digits of a year are those of 1950 to 2049 (RFC 5280).
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%S").ok().map(|until| until.and_utc())
}

/// One value of DER, and what stands after it.
struct Part<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Part<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(first & 0x7f) {
            short if first & 0x80 == 0 => (short, rest),
            digits => {
                let (digits, rest) = rest.split_at_checked(digits)?;
                let add =
                    |sum: usize, digit: &u8| sum.checked_mul(256)?.checked_add(usize::from(*digit));
                (digits.iter().try_fold(0_usize, add)?, rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        Some(Self { tag: *tag, content, rest })
    }

    fn within(&self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until 2036, with two digits of its year; and until 2126, with four. Nobody has their keys.
    const SHORT: &str = "
-----BEGIN CERTIFICATE-----
MIIBfjCCASOgAwIBAgIUeQvfatjxmY0a5quryZFk3AeJ+8UwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJYXZpcy50ZXN0MB4XDTI2MTEyOTEwNTMzNloXDTM2MTEyNjEw
NTMzNlowFDESMBAGA1UEAwwJYXZpcy50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAE6HzDlbyq4RYFNl1zO5sthKEE9EPNOGYtv3dO4YW1Cx5FVPQHMdF+nz+z
o/auYDAUZ6oOUdy3oGcSPPo8D8MRsaNTMFEwHQYDVR0OBBYEFM7uIJMZ91FiJ3oc
/i3wP0zOH+VgMB8GA1UdIwQYMBaAFM7uIJMZ91FiJ3oc/i3wP0zOH+VgMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhALVxDataL8AVmWzxOLMMJ7hb
eCiP0hmcTnwq5UgcmPlrAiEAlBMlIM8BknYdARjiTQ3+VNs9nDUJp4u8GwjA2TBr
45A=
-----END CERTIFICATE-----
";
    const LONG: &str = "
-----BEGIN CERTIFICATE-----
MIIBfjCCASWgAwIBAgIULXocg7wnEKbhfvJnJikEKA3NCXUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJYXZpcy50ZXN0MCAXDTI2MTEyOTEwNTMzNloYDzIxMjYxMTA1
MTA1MzM2WjAUMRIwEAYDVQQDDAlhdmlzLnRlc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASnZjDXi9yKIvUUwvA9op9fxTfwfEAlLpPLq39G8XBtOSlyXCpm3YOy
uKiCzRnzpM8TGza7dqqPXbPxz0Bl+Mbno1MwUTAdBgNVHQ4EFgQU2zj+H/nnbW8q
q4enR1Q6HmJCkTQwHwYDVR0jBBgwFoAU2zj+H/nnbW8qq4enR1Q6HmJCkTQwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiBo4t0AJ0NTgdsE334CM/3G
EheLIMA/6G132dWUVvKWngIgZt+75YTpAoilCbH1PeNhBmRJmp3g5gSXsWbT43kt
AnI=
-----END CERTIFICATE-----
";

    #[test]
    fn the_end_of_a_certificate_is_read() {
        let until = |pem| expiry(pem).map(|until| until.to_rfc3339());
        assert_eq!(until(SHORT).as_deref(), Some("2036-11-26T10:53:36+00:00"));
        assert_eq!(until(LONG).as_deref(), Some("2126-11-05T10:53:36+00:00"));
    }

    #[test]
    fn what_is_cut_or_no_certificate_has_none() {
        assert_eq!(expiry("no certificate"), None);
        let (_, rest) = SHORT.split_once(BEGIN).expect("PEM");
        let text: String = rest.split(END).next().expect("text").split_whitespace().collect();
        let der = BASE64_STANDARD.decode(text).expect("base64");
        for length in 0..der.len() {
            assert_eq!(not_after(&der[..length]), None, "cut at {length}");
        }
    }
}
