//! Requests handed on to a process that tells what it was asked.

use std::{future::pending, io};

use axum::{body::to_bytes, http};
use tokio::{net::TcpListener, time::sleep};

use super::*;

const LONG: Duration = Duration::from_secs(60);

/// Led to a process that answers with the path and the body, and at one path never.
async fn led(silent: Duration) -> Led {
    let tell = |uri: Uri, body: String| async move { format!("{} {body}", uri.path()) };
    let routes = Router::new().route("/v1/never", any(pending::<()>)).fallback(tell);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let forward = Forward::new(Path::new("")).expect("a client");
    forward.led("roles.warehouse", &format!("http://{address}"), silent).expect("an address")
}

fn request(path: &str, body: Body) -> Request {
    http::Request::post(path).body(body).expect("a request")
}

async fn told(led: &Led, path: &str, body: Body) -> (StatusCode, String) {
    let response = hand_on(State(led.clone()), request(path, body)).await;
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 16).await.expect("a whole body");
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn a_path_goes_on_as_it_came_or_not_at_all() {
    let led = led(LONG).await;
    for path in ["/v1/reports/a%2Fb", "/v1/settlements:sent", "/v1/reports/a..b"] {
        let (status, text) = told(&led, path, Body::from("body")).await;
        assert_eq!((status, text), (StatusCode::OK, format!("{path} body")));
    }
    for path in ["/v1/reports/..", "/v1/reports/%2e%2E/x", "/v1/reports/.", r"/v1/reports/a\b"] {
        let (status, text) = told(&led, path, Body::empty()).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {text}");
        assert!(text.contains("there is no such path"), "{path}: {text}");
    }
}

#[tokio::test]
async fn an_address_is_one_of_the_web_without_a_path() {
    let forward = Forward::new(Path::new("")).expect("a client");
    let is_one = |address: &str| forward.led("roles.warehouse", address, LONG).is_ok();
    assert!(is_one("http://there:8080") && is_one("https://there/"));
    for address in ["http://there/below", "ftp://there", "there:8080", "there"] {
        assert!(!is_one(address), "{address}");
    }
}

#[tokio::test]
async fn who_breaks_off_is_told_of_it_and_not_of_the_other_process() {
    let led = led(LONG).await;
    let pieces = [Ok("begun"), Err(io::Error::other("cut off"))];
    let body = Body::from_stream(stream::iter(pieces));
    let (status, text) = told(&led, "/v1/reports", body).await;
    assert_eq!((status, text), (StatusCode::BAD_REQUEST, String::new()));
}

#[tokio::test]
async fn a_silent_process_is_given_up_and_who_sends_slowly_is_not() {
    let led = led(Duration::from_secs(2)).await;
    let (status, text) = told(&led, "/v1/never", Body::empty()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    let late = stream::once(async {
        sleep(Duration::from_secs(5)).await;
        Ok::<_, io::Error>("late")
    });
    let (status, text) = told(&led, "/v1/reports", Body::from_stream(late)).await;
    assert_eq!((status, text), (StatusCode::OK, "/v1/reports late".to_owned()));
}

#[tokio::test]
async fn there_is_room_again_once_an_answer_is_read_or_given_up() {
    let mut led = led(LONG).await;
    led.room = Arc::new(Semaphore::new(1));
    let held = hand_on(State(led.clone()), request("/v1/reports", Body::empty())).await;
    assert_eq!(held.status(), StatusCode::OK);
    let (status, text) = told(&led, "/v1/reports", Body::empty()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    drop(held);
    for _ in 0..2 {
        assert_eq!(told(&led, "/v1/reports", Body::empty()).await.0, StatusCode::OK);
    }
}
