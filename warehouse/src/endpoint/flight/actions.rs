//! Actions beside those of prepared statements: what drivers may ask for, and why it is not done.

use std::pin::Pin;

use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus,
};
use futures::Stream;
use prost::Message;
use tonic::{Response, Status};

/// What an action answers with.
pub(super) type Results =
    Pin<Box<dyn Stream<Item = Result<arrow_flight::Result, Status>> + Send + 'static>>;

/// Whoever gives up the call that brings the rows ends their statement; nothing else runs.
pub(super) const CANCELLED: CancelStatus = CancelStatus::NotCancellable;

const CANCEL: &str = "CancelFlightInfo";

/// What is listed beside the actions of Flight SQL itself.
pub(super) fn listed() -> ActionType {
    ActionType {
        r#type: CANCEL.to_owned(),
        description: "Says how a query is cancelled: by giving up the call that brings its rows."
            .to_owned(),
    }
}

/// Answers an action.
pub(super) fn answer(action: &Action) -> Result<Response<Results>, Status> {
    match action.r#type.as_str() {
        CANCEL => {
            let asked = CancelFlightInfoRequest::decode(action.body.clone());
            asked.map_err(|_| Status::invalid_argument("this cancels nothing that is known"))?;
            let result = CancelFlightInfoResult { status: CANCELLED.into() };
            let result = arrow_flight::Result { body: result.encode_to_vec().into() };
            Ok(Response::new(Box::pin(futures::stream::iter([Ok(result)]))))
        }
        "SetSessionOptions" | "GetSessionOptions" => Err(Status::unimplemented(
            "a session has no options here: a statement says itself what it means",
        )),
        "CloseSession" => {
            Err(Status::unimplemented("there is no session to close: each call stands by itself"))
        }
        "RenewFlightEndpoint" => {
            Err(Status::unimplemented("a ticket needs no renewal: it holds as long as its token"))
        }
        _ => Err(Status::invalid_argument("there is no such action")),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn refused(name: &str, body: &[u8]) -> Code {
        let action = Action { r#type: name.to_owned(), body: body.to_vec().into() };
        answer(&action).map(drop).expect_err(name).code()
    }

    #[test]
    fn what_is_not_done_is_said_in_the_way_that_drivers_take_for_that() {
        for name in
            ["SetSessionOptions", "GetSessionOptions", "CloseSession", "RenewFlightEndpoint"]
        {
            assert_eq!(refused(name, b""), Code::Unimplemented, "{name}");
        }
        assert_eq!(refused("Shutdown", b""), Code::InvalidArgument);
        assert_eq!(refused(CANCEL, b"\xff"), Code::InvalidArgument);
    }
}
