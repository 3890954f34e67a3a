//! Container image, compose file, Kubernetes manifests and systemd unit, as far as they can be checked without
//! running them: `tests/packaging` does it, and sees to it that each of its checks can fail.

use std::process::Command;

#[test]
fn the_packaging_is_sound() {
    let output = Command::new("bash")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/check.sh"))
        .args(["packaging", "--self-test", "--binary", env!("CARGO_BIN_EXE_cedargate")])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    println!("{told}");
}
