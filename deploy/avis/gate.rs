//! Who may ask SQL: by token, or by a password that was stored for clients that cannot carry one.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use connectors::access::{Role, Tokens};
use ingest::vault::Vault;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use warehouse::{
    access::{Reader, View},
    endpoint::{Gate, Stored},
    file,
};

use crate::failure::Failure;

/// Where stored passwords lie, sealed, in a node's folder.
const FILE: &str = "sql-passwords";

/// The gate of a node.
#[derive(Debug)]
pub struct Keeper {
    tokens: Tokens,
    stored: BTreeMap<String, Kept>,
}

/// A stored password.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    role: Role,
    organisation: String,
    salt: String,
    salted: String,
}

/// What a role sees of the tables.
///
/// # Errors
/// Where the role sees none, or names no organisation and has to.
pub fn view(role: Role, organisation: &str) -> Result<View, String> {
    let of = |view: fn(Arc<str>) -> View| match organisation {
        "" => Err(format!("the role {} acts for an organisation, and none is named", role.code())),
        organisation => Ok(view(organisation.into())),
    };
    match role {
        Role::Administrator => Ok(View::Everything),
        Role::Analyst => Ok(View::Analyst),
        Role::Finance => Ok(View::Finance),
        Role::Grantor => of(View::Grantor),
        Role::Merchant => of(View::Merchant),
        other => Err(format!("the role {} may not ask SQL", other.code())),
    }
}

impl Keeper {
    /// The gate of a node: its tokens, and what is stored in its folder.
    ///
    /// # Errors
    /// Where the stored passwords cannot be read.
    pub fn open(folder: &Path, vault: &Vault, tokens: Tokens) -> Result<Self, Failure> {
        Ok(Self { tokens, stored: read(folder, vault)? })
    }
}

impl Gate for Keeper {
    fn bearer(&self, token: &str) -> Result<Reader, String> {
        let identity = self.tokens.verify(token);
        let identity = identity.ok_or_else(|| "the token does not hold".to_owned())?;
        let view = view(identity.role, &identity.organisation)?;
        Ok(Reader { name: identity.subject, view })
    }

    fn admit(&self, name: &str, token: &str) -> Result<Reader, String> {
        let refused = || format!("password authentication failed for user \"{name}\"");
        let identity = self.tokens.verify(token).ok_or_else(refused)?;
        if name != identity.role.code() && name != identity.subject.as_ref() {
            return Err(format!(
                "the token is of {} \"{}\": log in by one of these names",
                identity.role.code(),
                identity.subject
            ));
        }
        let view = view(identity.role, &identity.organisation)?;
        Ok(Reader { name: identity.subject, view })
    }

    fn stored(&self, name: &str) -> Option<(Stored, Reader)> {
        let kept = self.stored.get(name)?;
        let bytes = |text: &String| BASE64_STANDARD.decode(text).ok();
        let stored = Stored { salt: bytes(&kept.salt)?, salted: bytes(&kept.salted)? };
        let view = view(kept.role, &kept.organisation).ok()?;
        Some((stored, Reader { name: name.into(), view }))
    }
}

/// Stores a password; whoever had the name before has a new one.
///
/// # Errors
/// Where the role may not ask SQL, the password is too short, or the file cannot be written.
pub fn store(
    folder: &Path,
    vault: &Vault,
    name: &str,
    (role, organisation): (Role, &str),
    password: &str,
) -> Result<(), Failure> {
    view(role, organisation).map_err(Failure::Usage)?;
    if password.chars().count() < SHORTEST {
        let text = format!("a password has at least {SHORTEST} characters");
        return Err(Failure::Usage(text));
    }
    let mut salt = vec![0; 16];
    let drawn = SystemRandom::new().fill(&mut salt);
    drawn.map_err(|_| Failure::State("the operating system gives no randomness".into()))?;
    let stored = Stored::of(password, salt);
    let mut all = read(folder, vault)?;
    let kept = Kept {
        role,
        organisation: organisation.to_owned(),
        salt: BASE64_STANDARD.encode(&stored.salt),
        salted: BASE64_STANDARD.encode(&stored.salted),
    };
    all.insert(name.to_owned(), kept);
    let plain = serde_json::to_vec(&all).map_err(std::io::Error::from)?;
    Ok(file::write(&folder.join(FILE), &vault.seal_for_node(&plain)?)?)
}

/// The fewest characters of a password.
const SHORTEST: usize = 12;

fn read(folder: &Path, vault: &Vault) -> Result<BTreeMap<String, Kept>, Failure> {
    let path = folder.join(FILE);
    let sealed = match fs::read(&path) {
        Ok(sealed) => sealed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(Failure::Read { path, source }),
    };
    let plain = vault.unseal_for_node(&sealed)?;
    let read = serde_json::from_slice(&plain).map_err(std::io::Error::from);
    read.map_err(|source| Failure::Read { path, source })
}
