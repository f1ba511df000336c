//! `valerix completions`

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::platform::output;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the completion script of `command`.
    pub fn run(self, mut command: clap::Command) -> ExitCode {
        let mut script = Vec::new();
        let name = command.get_name().to_owned();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        output::print(String::from_utf8_lossy(&script));
        ExitCode::SUCCESS
    }
}
