//! The comparison cases of `tests/cases/*.cases` and `tests/cases/debian/*.cases`.

use aurora_cli::project;

/// One script and its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The file it is in, and the sentence that names it.
    pub name: String,
    /// What the shell gets.
    pub script: String,
    /// Its standard input.
    pub stdin: String,
}

impl Case {
    /// The script in a directory of its own, which is gone afterwards.
    pub fn wrapped(&self) -> String {
        format!(
            "d=$(mktemp -d /tmp/case.XXXXXX) && cd $d || exit 99\n(\n{}\n)\ns=$?; cd /; rm -rf $d; exit $s",
            self.script
        )
    }
}

/// All cases of all files of a folder of the project.
pub fn all(folder: &str) -> Vec<Case> {
    let folder = project::root().join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "cases"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|path| {
            let file = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            parse(&file, &std::fs::read_to_string(path).expect("a case file is text"))
        })
        .collect()
}

/// Reads a case file: `=== name`, the script, and maybe `--- stdin` and the input. What comes before the first case is
/// for the reader.
fn parse(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut input = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            input = false;
            cases.push(Case { name: format!("{file}: {name}"), script: String::new(), stdin: String::new() });
        } else if line == "--- stdin" {
            input = true;
        } else if let Some(case) = cases.last_mut() {
            let part = if input { &mut case.stdin } else { &mut case.script };
            part.push_str(line);
            part.push('\n');
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_cases_and_no_two_have_one_name() {
        for (folder, enough) in [("tests/cases", 250), ("tests/cases/debian", 300)] {
            let mut names: Vec<String> = all(folder).into_iter().map(|c| c.name).collect();
            assert!(names.len() >= enough, "{} cases", names.len());
            names.sort();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn a_case_has_a_script_and_an_input() {
        let cases = parse("f", "note\n=== one\necho\n--- stdin\nx\n=== two\ntrue\n");
        assert_eq!(cases[0], Case { name: "f: one".into(), script: "echo\n".into(), stdin: "x\n".into() });
        assert_eq!(cases[1].script, "true\n");
    }
}
