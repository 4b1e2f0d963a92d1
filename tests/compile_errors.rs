//! What the compiler says to whoever makes a usual mistake, in our own words. Its words are its
//! own, and no test holds them.
//!
//! All snippets are checked by one cargo, as programs of a package that is made for it. It has a
//! folder of its own to build into, because the lock on the usual one may be taken.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use serde_json::Value;
use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

/// From cold it takes a fraction of this. It is for a cargo that hangs.
const DEADLINE: Duration = Duration::from_secs(300);

/// A program in which `HERE` is either wrong or right, so that nothing else can be wrong with it.
struct Mistake {
    name: &'static str,
    code: &'static str,
    wrong: &'static str,
    right: &'static str,
    /// Parts of our sentences; the rest of them names the type that is wrong.
    told: &'static [&'static str],
}

const MISTAKES: [Mistake; 8] = [
    Mistake {
        name: "an_argument_that_is_no_extractor",
        code: "async fn say(text: HERE) -> u8 { 7 }
               fn chat() -> Namespace { Namespace::new(\"/\").on(\"say\", say) }",
        wrong: "String",
        right: "Data<String>",
        told: &["a handler cannot ask for `String`", "ask for `Socket`, `Data<T>`"],
    },
    Mistake {
        name: "a_result_that_is_no_reply",
        code: "#[derive(Default)] struct Own;
               async fn say() -> HERE { HERE::default() }
               fn chat() -> Namespace { Namespace::new(\"/\").on(\"say\", say) }",
        wrong: "Own",
        right: "u8",
        told: &["a handler cannot return", "or `Data(value)` for a type of your own"],
    },
    Mistake {
        name: "a_value_where_a_handler_is_wanted",
        code: "fn chat() -> Namespace { Namespace::new(\"/\").on(\"say\", HERE) }",
        wrong: "7",
        right: "|| async { 7 }",
        told: &[
            "is no handler",
            "not an async function of extractors that returns a reply",
            "a handler is `async fn(A, B, …) -> R` or `|a: A, …| async move { … }`",
        ],
    },
    Mistake {
        name: "a_payload_that_serde_does_not_know",
        code: "struct Own;
               async fn say(socket: Socket) { let _ = socket.emit(\"say\", &HERE).await; }",
        wrong: "Own",
        right: "7",
        told: &[
            "cannot be the payload of an event",
            "derive `serde::Serialize` for it, or pass a ready `Payload`",
        ],
    },
    Mistake {
        name: "something_that_names_no_room",
        code: "fn red(socket: &Socket) -> Broadcast { socket.to(HERE) }",
        wrong: "7",
        right: "\"red\"",
        told: &["names no room", "pass a name, a socket id, or an array, slice or `Vec` of these"],
    },
    Mistake {
        name: "a_layer_whose_service_is_not_clone",
        code: "struct Around;
               #[derive(HERE)] struct Within<S>(S);
               impl<S> tower_layer::Layer<S> for Around {
                   type Service = Within<S>;
                   fn layer(&self, inner: S) -> Within<S> { Within(inner) }
               }
               type Waker<'a, 'b> = &'a mut std::task::Context<'b>;
               impl<S: Service<Envelope, Response = Ack>> Service<Envelope> for Within<S> {
                   type Response = Ack;
                   type Error = S::Error;
                   type Future = S::Future;
                   fn poll_ready(&mut self, cx: Waker<'_, '_>) -> Poll<Result<(), S::Error>> {
                       self.0.poll_ready(cx)
                   }
                   fn call(&mut self, envelope: Envelope) -> S::Future { self.0.call(envelope) }
               }
               fn chat() -> Namespace { Namespace::new(\"/\").inbound(Around) }",
        wrong: "Debug",
        right: "Clone",
        told: &["cannot stand around events", "a stack of layers is cloned for each event"],
    },
    Mistake {
        name: "a_layer_around_connecting_that_makes_no_service",
        code: "fn client() -> Client {
                   let layer = tower_layer::layer_fn(|inner| HERE);
                   Client::new(Memory::new(\"lobby\")).connector(layer)
               }",
        wrong: "7",
        right: "inner",
        told: &["cannot stand around connecting", "a stack of layers is cloned for each attempt"],
    },
    Mistake {
        name: "a_rate_limit_without_a_buffer_over_it",
        code: "fn chat() -> Namespace {
                   let rate = tower::limit::RateLimitLayer::new(5, Duration::from_secs(1));
                   Namespace::new(\"/\").outbound(HERE)
               }",
        wrong: "rate",
        right: "tower::ServiceBuilder::new().buffer::<Envelope>(8).layer(rate).into_inner()",
        told: &["cannot stand around events", "a stack of layers is cloned for each event"],
    },
];

const IMPORTS: &str =
    "use emitwire::{Ack, Broadcast, Client, Data, Envelope, Memory, Namespace, Socket};
                       use std::task::Poll;
                       use std::time::Duration;
                       use tower_service::Service;";

/// What no user sees is of no interest here.
const START: &str = "#![allow(warnings)]";

const CONTROL: &str = "control";

#[test]
fn whoever_makes_a_usual_mistake_is_told_in_our_words_what_is_wanted() {
    let manifest = package();
    let said = check(&manifest);
    let is_built = |line: &&Value| line["reason"] == "compiler-artifact" && is_of(line, CONTROL);
    let control = said.iter().find(is_built);
    assert!(control.is_some(), "what is right compiles:\n{}", errors(&said, CONTROL));
    for Mistake { name, told, .. } in &MISTAKES {
        let errors = errors(&said, name);
        assert!(!errors.is_empty(), "{name} compiles");
        for sentence in *told {
            assert!(errors.contains(sentence), "{name}: not `{sentence}`, but\n{errors}");
        }
    }
}

/// Makes the package: a program for each mistake, and one that makes none.
fn package() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_errors");
    let programs = folder.join("src/bin");
    fs::create_dir_all(&programs).unwrap();
    // No network is needed for the versions that this workspace is built with.
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let manifest = folder.join("Cargo.toml");
    let dependency = format!("{{ path = {root:?}, default-features = false }}");
    let mut text = format!(
        "[package]\nname = \"compile-errors\"\nedition = \"2024\"\nautobins = false\n[workspace]\n\
         [dependencies]\nemitwire = {dependency}\ntower-layer = \"*\"\ntower-service = \"*\"\n\
         tower = {{ version = \"*\", features = [\"buffer\", \"limit\"] }}\n"
    );
    for name in MISTAKES.iter().map(|mistake| mistake.name).chain([CONTROL]) {
        write!(text, "[[bin]]\nname = \"{name}\"\n").unwrap();
    }
    fs::write(&manifest, text).unwrap();
    let mut control = String::from(START);
    for Mistake { name, code, wrong, right, .. } in &MISTAKES {
        let (wrong, right) = (code.replace("HERE", wrong), code.replace("HERE", right));
        let program = format!("{START}\n{IMPORTS}\n{wrong}\nfn main() {{}}\n");
        fs::write(programs.join(format!("{name}.rs")), program).unwrap();
        write!(control, "\nmod {name} {{\n{IMPORTS}\n{right}\n}}").unwrap();
    }
    control.push_str("\nfn main() {}\n");
    fs::write(programs.join(format!("{CONTROL}.rs")), control).unwrap();
    manifest
}

/// What cargo says, line by line. What it says to people stays in a file beside the manifest.
fn check(manifest: &Path) -> Vec<Value> {
    let folder = manifest.parent().unwrap();
    let told = folder.join("cargo.txt");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["check", "--bins", "--keep-going", "--offline", "--message-format", "json"]);
    cargo.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(folder.join("target"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    cargo.stdout(Stdio::piped()).stderr(File::create(&told).unwrap());
    let mut child = cargo.spawn().expect("cargo");
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sends, lines) = mpsc::channel();
    thread::spawn(move || {
        let read: Result<Vec<_>, _> = output.lines().collect();
        let _ = sends.send(read);
    });
    let lines = lines.recv_timeout(DEADLINE);
    let _ = child.kill(); // by now it has ended, or it never will
    child.wait().unwrap();
    let told = fs::read_to_string(&told).unwrap_or_default();
    let lines = lines.unwrap_or_else(|_| panic!("not checked within {DEADLINE:?}:\n{told}"));
    let said: Vec<_> = lines.unwrap().iter().map(|line| serde_json::from_str(line)).collect();
    assert!(!said.is_empty(), "cargo has checked nothing:\n{told}");
    said.into_iter().map(Result::unwrap).collect()
}

/// The errors of one program, as they are shown.
fn errors(said: &[Value], program: &str) -> String {
    let of_it = said.iter().filter(|line| is_of(line, program));
    let errors = of_it.filter(|line| line["message"]["level"] == "error");
    errors.filter_map(|line| line["message"]["rendered"].as_str()).collect()
}

fn is_of(line: &Value, program: &str) -> bool {
    line["target"]["name"] == program
}
