//! What every page shows around its content: whose it is, where one is, and which theme.

use super::assets::ASSETS;
use super::theme::{self, Theme};
use super::{PageRequest, untrusted_text};

/// The frame of one page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Whose pages these are, in the operator's words.
    pub(crate) operator: String,
    pub(crate) initial: String,
    /// The host that the address bar has to show.
    pub(crate) host: String,
    /// The issuer's path, without a trailing slash.
    pub(crate) base: String,
    /// Where assets are.
    pub(crate) assets: String,
    pub(crate) style: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) theme: Theme,
    /// The page to come back to after the theme was changed; `None` where there is nothing to come back to.
    pub(crate) here: Option<String>,
}

impl Frame {
    /// The frame of the page that a request asks for.
    pub(crate) fn of(request: &PageRequest<'_>) -> Frame {
        Frame {
            here: Some(theme::come_back_to(&request.parts.uri)),
            ..Frame::bare(request.configuration, Theme::of(&request.parts.headers))
        }
    }

    /// The frame of a page that cannot be asked for again.
    pub(crate) fn bare(configuration: &crate::configuration::Configuration, theme: Theme) -> Frame {
        let operator = configuration.operator.clone();
        let initial = untrusted_text::initials(&operator).chars().take(1).collect();
        Frame {
            initial,
            operator,
            host: configuration.issuer.url().host_str().unwrap_or_default().to_owned(),
            base: configuration.issuer_path.clone(),
            assets: format!("{}/assets", configuration.issuer_path),
            style: &ASSETS.style.name,
            icon: &ASSETS.icon.name,
            theme,
            here: None,
        }
    }

    /// The choices of the theme switch: value, label, and whether it is on.
    pub(crate) fn themes(&self) -> [(&'static str, &'static str, bool); 3] {
        Theme::ALL.map(|theme| (theme.name().unwrap_or("system"), theme.label(), theme == self.theme))
    }
}
