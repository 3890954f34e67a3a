//! The OpenAPI document and the pages that show it, as tools of others see them: `tests/openapi` has a validator, a
//! browser and generated requests look at a server that runs.

use std::process::Command;

#[test]
fn the_api_is_what_its_document_says() {
    let output = Command::new("bash")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/check.sh"))
        .args(["openapi", env!("CARGO_BIN_EXE_cedargate")])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    println!("{told}");
}
