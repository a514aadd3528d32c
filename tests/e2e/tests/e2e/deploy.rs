//! What lies in `deploy/` is what the binaries read.

use std::process::Command;

#[test]
fn both_servers_take_the_configuration_in_deploy() {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = std::path::PathBuf::from(package).join("../..");
    for (binary, args) in [("pi-region", &["serve"][..]), ("pi-gateway", &[])] {
        let file = root.join("deploy/config").join(format!("{binary}.toml"));
        let mut command = Command::new(pi_dev::bin_dir().unwrap().join(binary));
        let output = command.args(args).arg("--config").arg(&file).arg("--dump-config").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} is refused: {said}", file.display());
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("listen = "),
            "{binary} prints its settings"
        );
    }
}
