//! The terminals' gRPC stream: the same meaning as over HTTP, many requests in flight, answers
//! matched by id. A client that does not read is not read from.

use std::{sync::Arc, time::Instant};

use authoriser::{command::Refusal, reply::Reply};
use axum::{Router, http::HeaderMap};
use domain::{amount::Quantity, id::AuthorisationId, refund::ReturnedLine};
use ingest::traces::{self, Step};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, service::Routes};

use super::{
    answer::{self, Explain},
    http::{Door, own, usable_key},
    request,
    wire::{
        self,
        request::What,
        response::Outcome,
        terminal_server::{Terminal, TerminalServer},
    },
};
use crate::{
    access::{self, Identity},
    metrics::Asked,
    problem::Problem,
};

/// Requests of one stream that are being decided at once.
const IN_FLIGHT: usize = 1_024;
/// Answers on their way to a slow reader.
const AHEAD: usize = 256;
/// The longest id of a request.
const LONGEST_ID: usize = 64;

/// The gRPC service.
#[derive(Clone, Debug)]
pub struct Service(Arc<Door>);

/// The gRPC routes: terminals, health and reflection.
///
/// # Errors
/// Never in practice: the description was compiled with us.
pub async fn routes(door: Door) -> Result<Router, tonic_reflection::server::Error> {
    let service = TerminalServer::new(Service(Arc::new(door)))
        .max_decoding_message_size(request::LARGEST_BODY);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<TerminalServer<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let routes = Routes::new(service).add_service(health).add_service(reflection);
    Ok(routes.prepare().into_axum_router())
}

#[tonic::async_trait]
impl Terminal for Service {
    type AuthoriseStream = ReceiverStream<Result<wire::Response, Status>>;

    async fn authorise(
        &self,
        asked: Request<Streaming<wire::Request>>,
    ) -> Result<Response<Self::AuthoriseStream>, Status> {
        let headers: HeaderMap = asked.metadata().clone().into_headers();
        access::identity(&self.0.tokens, &headers).map_err(|_| unauthenticated())?;
        let (answers, streamed) = mpsc::channel(AHEAD);
        tokio::spawn(serve(Arc::clone(&self.0), headers, asked.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(streamed)))
    }
}

fn unauthenticated() -> Status {
    Status::unauthenticated("send a valid token in `authorization`")
}

/// Reads requests as long as fewer than [`IN_FLIGHT`] are being decided.
async fn serve(
    door: Arc<Door>,
    headers: HeaderMap,
    mut requests: Streaming<wire::Request>,
    answers: mpsc::Sender<Result<wire::Response, Status>>,
) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let asked = match requests.next().await {
            Some(Ok(asked)) => asked,
            Some(Err(status)) => {
                // The client is told why its stream ends, if it still listens.
                let _ = answers.send(Err(status)).await;
                return;
            }
            None => return,
        };
        // A stream may outlive its token, and the terminal's key.
        let Ok(identity) = access::identity(&door.tokens, &headers) else {
            let _ = answers.send(Err(unauthenticated())).await;
            return;
        };
        // Nor is it read from while more is asked than is answered soon.
        let Some(admitted) = door.admission.wait().await else { return };
        let (door, answers) = (Arc::clone(&door), answers.clone());
        tokio::spawn(async move {
            let id = asked.id.clone();
            let (started, answering) = (Instant::now(), door.metrics.came("grpc"));
            let (status, outcome) = match answer(&door, &identity, asked, started).await {
                Ok(outcome) => (200, outcome),
                Err(problem) => (problem.message().status, Outcome::Problem(problem.into())),
            };
            drop((answering, admitted));
            door.metrics.answered(Asked::STREAMED, status, started.elapsed());
            // A client that has gone needs no answer; its key has it.
            let _ = answers.send(Ok(wire::Response { id, outcome: Some(outcome) })).await;
            drop(permit);
        });
    }
}

async fn answer(
    door: &Door,
    identity: &Identity,
    asked: wire::Request,
    started: Instant,
) -> Result<Outcome, Problem> {
    if asked.id.len() > LONGEST_ID {
        return Err(Problem::invalid(format!("/id: must have at most {LONGEST_ID} characters")));
    }
    let what = asked.what.ok_or_else(|| Problem::invalid("the request asks for nothing"))?;
    if let What::LookUp(look_up) = what {
        let history = door.look_up(identity, authorisation(&look_up.authorisation_id)?).await?;
        let told = answer::authorisation(&history, Explain::Applied);
        return Ok(Outcome::Authorisation(told));
    }
    let terminal = door.terminal(identity)?;
    let key = usable_key(&asked.idempotency_key)?;
    let reply = match what {
        What::Authorise(basket) => {
            let asked = request::basket(basket, key, &door.vault)?;
            own(&terminal, &asked.request.terminal)?;
            door.authoriser.authorise(asked.request, asked.body).await?
        }
        What::Reverse(reversal) => {
            let (caller, undone) = request::reversal_of(&reversal, key)?;
            own(&terminal, &caller.terminal)?;
            let reply = door.authoriser.reverse(caller, undone.clone()).await?;
            let told = answer::reversed(&reply, terminal.as_str(), undone.as_str());
            return Ok(Outcome::Reversed(told));
        }
        What::Capture(of) => {
            let id = authorisation(&of.authorisation_id)?;
            let change = request::capture_of(id, terminal, key, of.receipt_number)?;
            door.authoriser.change(change).await?
        }
        What::Void(of) => {
            let id = authorisation(&of.authorisation_id)?;
            door.authoriser.change(request::voided(id, terminal, key)).await?
        }
        What::Refund(of) => {
            let id = authorisation(&of.authorisation_id)?;
            let lines = of.lines.iter().map(|line| ReturnedLine {
                number: line.line,
                quantity: Quantity::from_thousandths(line.quantity_thousandths),
            });
            let change = request::refunded(id, terminal, key, lines.collect());
            door.authoriser.change(change).await?
        }
        What::LookUp(_) => return Err(Refusal::NotFound.into()),
    };
    match reply {
        Reply::Authorisation(history) => {
            if let Some(trace) = traces::of(&history.decided.authorisation_id) {
                trace.tell(Step::answered(
                    "avis.terminal.v1.Terminal/Authorise",
                    started.elapsed(),
                    None,
                ));
            }
            Ok(Outcome::Authorisation(answer::authorisation(&history, Explain::Applied)))
        }
        Reply::Blocked(_) => Err(Refusal::KeyReused.into()),
    }
}

fn authorisation(text: &str) -> Result<AuthorisationId, Problem> {
    AuthorisationId::parse(text).ok_or_else(|| Refusal::NotFound.into())
}
