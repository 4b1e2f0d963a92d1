//! The rules of this project that a machine can check: what no test holds decays.
//!
//! Every check is a function from one file to its findings. Here it meets the whole workspace;
//! beside it, in its own file, a snippet that breaks the rule shows that it can fail.

mod habits;
mod layers;
#[path = "../../xtask/src/manifest.rs"]
mod manifest;
mod papers;
mod scan;
mod size;
mod source;
mod tree;

use manifest::Manifest;
use source::{Finding, Source};

#[track_caller]
fn assert_none(findings: impl IntoIterator<Item = Finding>) {
    let findings: Vec<_> = findings.into_iter().map(|it| it.to_string()).collect();
    assert!(findings.is_empty(), "\n\n{}\n", findings.join("\n"));
}

#[track_caller]
fn holds_everywhere(check: fn(&Source) -> Vec<Finding>) {
    let sources = tree::sources();
    assert!(!sources.is_empty(), "the workspace has sources");
    assert_none(sources.iter().flat_map(check));
}

#[test]
fn no_file_has_more_lines_of_code_than_a_reader_can_hold() {
    holds_everywhere(size::of_file);
}

#[test]
fn no_function_is_longer_than_a_screen() {
    holds_everywhere(size::of_functions);
}

#[test]
fn no_line_is_wider_than_the_page() {
    holds_everywhere(size::of_lines);
}

#[test]
fn the_protocol_knows_no_runtime_clock_chance_or_lock() {
    holds_everywhere(layers::protocol_is_pure);
}

#[test]
fn the_core_names_no_wire() {
    holds_everywhere(layers::core_names_no_wire);
}

#[test]
fn imports_inside_the_core_run_one_way() {
    holds_everywhere(layers::imports_run_one_way);
}

#[test]
fn errors_and_ids_stand_on_the_ground() {
    holds_everywhere(layers::errors_and_ids_import_nothing);
}

#[test]
fn nothing_is_left_half_done() {
    holds_everywhere(habits::nothing_half_done);
}

#[test]
fn only_tests_and_tools_unwrap() {
    holds_everywhere(habits::no_unwrap);
}

#[test]
fn nothing_is_called_a_message() {
    holds_everywhere(habits::no_message);
}

#[test]
fn what_one_platform_has_the_others_have_an_answer_to() {
    holds_everywhere(habits::platforms_have_counterparts);
}

#[test]
fn unsafe_code_is_forbidden_in_every_package() {
    let top = tree::read("Cargo.toml").expect("the workspace has a manifest");
    assert_none(papers::unsafe_is_forbidden("Cargo.toml", &top));
    let manifest = Manifest::parse(&top);
    let members = manifest.list("workspace.members").into_iter();
    for path in members.map(|member| format!("{member}/Cargo.toml")) {
        let text = tree::read(&path).unwrap_or_default();
        assert_none(papers::lints_are_inherited(&path, &text));
    }
    assert_none(papers::lints_are_inherited("Cargo.toml", &top));
}

#[test]
fn the_readme_lists_the_features_there_are() {
    let manifest = Manifest::parse(&tree::read("Cargo.toml").unwrap_or_default());
    if let Some(readme) = tree::read("README.md") {
        assert_none(papers::features_are_listed("README.md", &readme, &manifest));
    }
}

#[test]
fn links_between_the_papers_lead_somewhere() {
    for (path, text) in tree::papers() {
        assert_none(papers::links_lead_somewhere(&path, &text, tree::exists));
    }
}
