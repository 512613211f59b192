//! Generates the terminal's messages from their one description. `protox` compiles it in Rust, so no
//! `protoc` needs to be installed.

use protox::prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILE: &str = "proto/avis/terminal/v1/terminal.proto";
    println!("cargo::rerun-if-changed={FILE}");
    let descriptors = protox::compile([FILE], ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("terminal.bin"), descriptors.encode_to_vec())?;
    let answers = [
        "Authorisation",
        "Line",
        "Benefit",
        "Text",
        "Remaining",
        "Explanation",
        "Refunded",
        "RefundedLine",
        "Reversed",
        "Problem",
        "Fault",
    ];
    let mut config = tonic_prost_build::configure().build_transport(false);
    for answer in answers {
        config = config.type_attribute(
            format!("avis.terminal.v1.{answer}"),
            "#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]",
        );
    }
    // Of what no request is answered with by itself, a line of a batch, none is told.
    let instance = "#[serde(skip_serializing_if = \"Option::is_none\")]";
    config = config.field_attribute("avis.terminal.v1.Problem.instance", instance);
    config.compile_fds(descriptors)?;
    Ok(())
}
