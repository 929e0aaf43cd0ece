//! The `keybound` binary: wires values together and contains no rules.
//!
//! Read `arguments` for what can be said, then the module with the command's name. `serve` and `gateway_daemon` are the two
//! daemons; `quickstart` runs both with a demonstration; everything else is a client of them.

mod acting;
mod admin;
mod admin_api;
mod advice;
mod arguments;
mod audit;
mod backchannel;
mod call;
mod certificate;
mod client;
mod client_files;
mod config_check;
mod configuration;
mod daemon;
mod database;
mod exit_code;
mod explain;
mod explanation;
mod file_watch;
mod gateway_daemon;
mod init;
mod panic_log;
mod pki;
mod quickstart;
mod random;
mod revoke;
mod serve;
mod session;
mod signals;
mod signing_key;
mod templates;
mod terminal;
mod token;
mod user;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use keybound_tls::Clock;
use tracing_subscriber::EnvFilter;

use arguments::{Admin, Arguments, Certificate, Command, Config, OutputFormat};
use exit_code::{CommandError, CommandResult};
use terminal::Terminal;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    panic_log::install();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return not_a_command(&error),
    };
    let terminal = Terminal::new(arguments.output, arguments.quiet);
    log_to_stderr(&arguments.command);
    let outcome = run(&arguments.command, &terminal);
    ended(&terminal, outcome)
}

fn ended(terminal: &Terminal, outcome: CommandResult) -> ExitCode {
    match terminal.finish(outcome) {
        Ok(code) => code.into(),
        Err(error) => {
            terminal.failure(&error);
            error.code.into()
        }
    }
}

/// What `--help` and `--version` print, and what is wrong with the command line.
fn not_a_command(error: &clap::Error) -> ExitCode {
    let terminal = Terminal::new(OutputFormat::Table, false);
    if error.use_stderr() {
        // Nobody is left to be told if this fails.
        let _ = error.print();
        return exit_code::ExitCode::Usage.into();
    }
    terminal.note(error.print());
    ended(&terminal, Ok(exit_code::ExitCode::Ok))
}

fn run(command: &Command, terminal: &Terminal) -> CommandResult {
    let clock = Clock::system();
    let now = clock.now();
    match command {
        Command::Quickstart(arguments) => quickstart::run(arguments, terminal, &clock),
        Command::Init(arguments) => init::run(arguments, terminal, now),
        Command::Admin(Admin::Create(arguments)) => admin::create(arguments, terminal, now),
        Command::Serve(arguments) => serve::run(arguments, terminal, &clock),
        Command::Gateway(arguments) => gateway_daemon::run(arguments, terminal, &clock),
        Command::Token(command) => block_on(token::run(command, terminal, now)),
        Command::Call(arguments) => block_on(call::run(arguments, terminal)),
        Command::Certificate(Certificate::Inspect(arguments)) => certificate::inspect::run(arguments, terminal, now),
        Command::Certificate(Certificate::Check(arguments)) => certificate::check::run(arguments, terminal, now),
        Command::Certificate(Certificate::Create(arguments)) => certificate::create::run(arguments, terminal, now),
        Command::Certificate(Certificate::Match(arguments)) => {
            block_on(certificate::matching::run(arguments, terminal))
        }
        Command::Client(command) => block_on(client::run(command, terminal)),
        Command::Backchannel(command) => block_on(backchannel::run(command, terminal)),
        Command::User(command) => block_on(user::run(command, terminal)),
        Command::Revoke(arguments) => block_on(revoke::run(arguments, terminal)),
        Command::Explain(arguments) => block_on(explain::run(arguments, terminal, now)),
        Command::Audit(arguments) => block_on(audit::run(arguments, terminal)),
        Command::Config(Config::Check(arguments)) => config_check::run(arguments, terminal),
        Command::Completions(arguments) => {
            // Into memory first: the generator panics where its output cannot be written.
            let mut script = Vec::new();
            clap_complete::generate(arguments.shell, &mut Arguments::command(), "keybound", &mut script);
            terminal.octets(&script);
            Ok(exit_code::ExitCode::Ok)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
            terminal.octets(&page);
            Ok(exit_code::ExitCode::Ok)
        }
    }
}

/// Runs a client command; Ctrl-C ends it.
fn block_on(command: impl Future<Output = CommandResult>) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            result = command => result,
            _ = tokio::signal::ctrl_c() => {
                Err(CommandError::message(exit_code::ExitCode::Interrupted, "interrupted"))
            }
        }
    })
}

/// Daemons log requests as JSON lines on standard error; other commands only what went wrong. `KEYBOUND_LOG` says otherwise.
fn log_to_stderr(command: &Command) {
    let is_daemon = matches!(command, Command::Serve(_) | Command::Gateway(_));
    let default = if is_daemon { "info" } else { "error" };
    let filter = EnvFilter::try_from_env("KEYBOUND_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Where standard error cannot be written, saying so there would panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    if is_daemon {
        subscriber.json().init();
    } else {
        subscriber.init();
    }
}
