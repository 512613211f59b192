//! Who is let in: a stored password by SCRAM, or a token as the password over TLS or on loopback.

use std::{
    fmt::Debug,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use futures::{Sink, SinkExt};
use pgwire::{
    api::{
        ClientInfo, METADATA_USER, PgWireConnectionState,
        auth::{
            AuthSource, DefaultServerParameterProvider, LoginInfo, Password, StartupHandler,
            finish_authentication, protocol_negotiation,
            sasl::{SASLState, SCRAM_SHA_256_METHOD, scram::ScramAuth},
            save_startup_parameters_to_metadata,
        },
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
        startup::{Authentication, PasswordMessageFamily, SecretKey},
    },
};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Cancels, connection::Connection, failure::fatal, settings};
use crate::{
    access::Reader,
    endpoint::{Gate, Stored},
    metrics::Metrics,
};

/// How long one waits who was refused, so that nobody guesses quickly.
const REFUSED_AFTER: Duration = Duration::from_millis(300);

/// The start of one connection.
pub(super) struct Startup {
    gate: Arc<dyn Gate>,
    connection: Arc<Connection>,
    cancels: Arc<Cancels>,
    /// Whether the door has a certificate, so that nobody need come without encryption.
    is_encrypted: bool,
    /// Where it is counted that there was no place, if there is none.
    full: Option<Metrics>,
    state: Mutex<State>,
}

enum State {
    Begun,
    /// A token is awaited.
    Token,
    /// A proof of a stored password is awaited.
    Scram {
        scram: Arc<ScramAuth>,
        reader: Reader,
        state: Arc<tokio::sync::Mutex<SASLState>>,
    },
}

/// One stored password, for the one who knocks.
#[derive(Debug)]
struct One(Stored);

#[async_trait::async_trait]
impl AuthSource for One {
    async fn get_password(&self, _: &LoginInfo) -> PgWireResult<Password> {
        Ok(Password::new(Some(self.0.salt.clone()), self.0.salted.clone()))
    }
}

impl Startup {
    pub(super) fn new(
        gate: Arc<dyn Gate>,
        connection: Arc<Connection>,
        cancels: Arc<Cancels>,
        is_encrypted: bool,
        full: Option<Metrics>,
    ) -> Self {
        Self { gate, connection, cancels, is_encrypted, full, state: Mutex::new(State::Begun) }
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// What is asked of somebody: the proof of a stored password, or a token.
    fn demand<C: ClientInfo>(&self, client: &C) -> PgWireResult<Authentication> {
        if let Some(metrics) = &self.full {
            metrics.turned_away("postgres");
            return Err(fatal(
                "53300",
                "too many clients already: come again when others have gone",
            ));
        }
        if self.is_encrypted && !client.is_secure() {
            let text = "this door is encrypted: connect with sslmode=verify-full, or require";
            return Err(fatal("28000", text));
        }
        let name = name(client)?;
        if let Some((stored, reader)) = self.gate.stored(&name) {
            let scram = Arc::new(ScramAuth::new(Arc::new(One(stored))));
            let state = Arc::new(tokio::sync::Mutex::new(SASLState::Initial));
            self.set(State::Scram { scram, reader, state });
            return Ok(Authentication::SASL(vec![SCRAM_SHA_256_METHOD.to_owned()]));
        }
        if !client.is_secure() && !client.socket_addr().ip().is_loopback() {
            let text = "a token as password is taken over TLS or on loopback only";
            return Err(fatal("28000", text));
        }
        self.set(State::Token);
        Ok(Authentication::CleartextPassword)
    }

    /// Whoever a token names.
    async fn token<C: ClientInfo>(
        &self,
        client: &C,
        message: PasswordMessageFamily,
    ) -> PgWireResult<Reader> {
        let token = message.into_password()?;
        match self.gate.admit(&name(client)?, &token.password) {
            Ok(reader) => Ok(reader),
            Err(why) => {
                tokio::time::sleep(REFUSED_AFTER).await;
                Err(fatal("28P01", why))
            }
        }
    }

    async fn welcome<C>(&self, client: &mut C, reader: Reader) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let (number, secret) = (number(), secret(client.protocol_version())?);
        client.set_pid_and_secret_key(number, secret.clone());
        let cancel = self.cancels.add(number, secret);
        self.connection.admitted(reader, number, cancel, client.metadata());
        let mut parameters = DefaultServerParameterProvider::default();
        parameters.server_version = settings::VERSION.to_owned();
        parameters.is_superuser = false;
        parameters.default_transaction_read_only = true;
        parameters.time_zone = "UTC".to_owned();
        finish_authentication(client, &parameters).await
    }
}

fn name<C: ClientInfo>(client: &C) -> PgWireResult<String> {
    let name = client.metadata().get(METADATA_USER).cloned();
    name.ok_or(PgWireError::UserNameRequired)
}

/// A number for a connection, by which its statements are cancelled.
fn number() -> i32 {
    static NEXT: AtomicI32 = AtomicI32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A secret as long as the protocol's version has it.
fn secret(version: ProtocolVersion) -> PgWireResult<SecretKey> {
    let mut bytes = [0_u8; 32];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| fatal("XX000", "the operating system gives no randomness"))?;
    Ok(match version {
        ProtocolVersion::PROTOCOL3_0 => {
            let [a, b, c, d, ..] = bytes;
            SecretKey::I32(i32::from_be_bytes([a, b, c, d]))
        }
        _ => SecretKey::Bytes(bytes.to_vec().into()),
    })
}

#[async_trait::async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(ref startup) => {
                protocol_negotiation(client, startup).await?;
                save_startup_parameters_to_metadata(client, startup);
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let demand = self.demand(client)?;
                client.send(PgWireBackendMessage::Authentication(demand)).await?;
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let scram = match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
                    State::Scram { scram, reader, state } => {
                        Some((Arc::clone(scram), reader.clone(), Arc::clone(state)))
                    }
                    State::Token => None,
                    State::Begun => return Err(fatal("08P01", "nobody asked for a password")),
                };
                let Some((scram, reader, state)) = scram else {
                    let reader = self.token(client, message).await?;
                    return self.welcome(client, reader).await;
                };
                let mut state = state.lock().await;
                let message = if matches!(*state, SASLState::Initial) {
                    *state = SASLState::ScramClientFirstReceived;
                    let first = message.into_sasl_initial_response()?;
                    PasswordMessageFamily::SASLInitialResponse(first)
                } else {
                    PasswordMessageFamily::SASLResponse(message.into_sasl_response()?)
                };
                let answered = scram.process_scram_message(client, message, &state).await;
                let Ok((answer, next)) = answered else {
                    tokio::time::sleep(REFUSED_AFTER).await;
                    let name = name(client)?;
                    let text = format!("password authentication failed for user \"{name}\"");
                    return Err(fatal("28P01", text));
                };
                client.send(PgWireBackendMessage::Authentication(answer)).await?;
                *state = next;
                if matches!(*state, SASLState::Finished) {
                    self.welcome(client, reader).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
