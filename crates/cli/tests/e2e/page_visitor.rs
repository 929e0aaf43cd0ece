//! A browser without scripts: curl with a cookie jar, and forms submitted as they stand.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::installation::{Answer, curl};

/// One browser at the pages of one server.
pub(crate) struct PageVisitor {
    directory: TempDir,
    ca: PathBuf,
    origin: String,
}

impl PageVisitor {
    /// At the pages of this origin, whose certificate this authority made.
    pub(crate) fn at(origin: String, ca: PathBuf) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            ca,
            origin,
        }
    }

    /// Opens a page, by its URL or its path.
    pub(crate) fn get(&self, page: &str) -> Answer {
        self.ask(page, &[])
    }

    /// Submits the form of a page, with these fields beside its own hidden ones.
    pub(crate) fn submit(&self, page: &str, fields: &[(&str, &str)]) -> Answer {
        let shown = self.get(page);
        let token = between(&shown.body, "name=\"form_token\" value=\"", "\"");
        let token = token.unwrap_or_else(|| panic!("no form: {shown:?}"));
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("form_token", token).extend_pairs(fields);
        // What a page says of itself by a hidden field, `/sign-in` does.
        if let Some(to) = between(&shown.body, "name=\"to\" value=\"", "\"") {
            form.append_pair("to", to);
        }
        let origin = format!("origin: {}", self.origin);
        let arguments = ["-H", &origin, "-H", "sec-fetch-site: same-origin", "-d", &form.finish()];
        self.ask(page, &arguments)
    }

    /// Follows redirects within the server; the first answer that is a page, or leads elsewhere.
    pub(crate) fn follow(&self, mut answer: Answer) -> (String, Answer) {
        let mut at = String::new();
        for _ in 0..8 {
            match answer.header("location") {
                Some(location) if location.starts_with('/') || location.starts_with(&self.origin) => {
                    at = location.to_owned();
                    answer = self.get(&at);
                }
                _ => break,
            }
        }
        (at, answer)
    }

    fn ask(&self, page: &str, arguments: &[&str]) -> Answer {
        let url = match page.strip_prefix('/') {
            Some(path) => format!("{}/{path}", self.origin),
            None => page.to_owned(),
        };
        let jar = self.directory.path().join("cookies");
        let jar = jar.to_str().unwrap();
        curl(&self.ca, None, &[&["-b", jar, "-c", jar], arguments, &[&url]].concat())
    }
}

/// The first text between two others.
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

/// Where a redirect leads.
#[track_caller]
pub(crate) fn sent_to(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{answer:?}");
    answer.header("location").unwrap().to_owned()
}
