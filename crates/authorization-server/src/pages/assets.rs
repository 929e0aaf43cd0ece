//! What pages load: one style sheet, one font, one icon. Each name carries the hash of its content, so that caches keep it for good and
//! a new version is another file.

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use keybound_protocol::digest;
use keybound_tls::ResponseBody;

use super::PageRequest;
use crate::error::Reason;
use crate::response::Response;

const STYLE: &str = concat!(
    include_str!("../../assets/tokens.css"),
    include_str!("../../assets/page.css")
);
const FONT: &[u8] = include_bytes!("../../assets/fonts/inter-subset.woff2");
const FONT_LICENCE: &[u8] = include_bytes!("../../assets/fonts/OFL.txt");
const ICON: &[u8] = include_bytes!("../../assets/mark.svg");

/// What the style sheet calls the font.
const FONT_IN_STYLE: &str = "inter-subset.woff2";
/// Characters of a hash in a name.
const HASH_CHARS: usize = 16;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A file that pages load.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Its name in the URL.
    pub(crate) name: String,
    content_type: &'static str,
    content: Bytes,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Assets {
    pub(crate) style: Asset,
    pub(crate) icon: Asset,
    font: Asset,
    font_licence: Asset,
}

/// The same for every server of this build.
pub(crate) static ASSETS: LazyLock<Assets> = LazyLock::new(Assets::new);

impl Assets {
    fn new() -> Assets {
        let font = Asset::new("inter", "woff2", "font/woff2", Bytes::from_static(FONT));
        let style = STYLE.replace(FONT_IN_STYLE, &font.name);
        Assets {
            style: Asset::new("page", "css", "text/css; charset=utf-8", Bytes::from(style)),
            icon: Asset::new("mark", "svg", "image/svg+xml", Bytes::from_static(ICON)),
            font,
            font_licence: Asset::new(
                "inter-licence",
                "txt",
                "text/plain; charset=utf-8",
                Bytes::from_static(FONT_LICENCE),
            ),
        }
    }

    fn find(&self, name: &str) -> Option<&Asset> {
        [&self.style, &self.icon, &self.font, &self.font_licence]
            .into_iter()
            .find(|asset| asset.name == name)
    }
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, content: Bytes) -> Asset {
        let hash: String = digest::hex(&digest::sha256(&content))
            .chars()
            .take(HASH_CHARS)
            .collect();
        Asset {
            name: format!("{stem}.{hash}.{extension}"),
            content_type,
            content,
        }
    }
}

/// `GET /assets/{name}`
pub(super) fn get(request: &PageRequest<'_>) -> Result<Response, Reason> {
    let asset = request
        .path()
        .strip_prefix("/assets/")
        .and_then(|name| ASSETS.find(name));
    let Some(asset) = asset else {
        return Err(Reason::PathUnknown {
            path: request.parts.uri.path().to_owned(),
        });
    };
    let mut response = Response::new(ResponseBody::Full(asset.content.clone()));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_loads_the_font_by_its_hashed_name() {
        let style = std::str::from_utf8(&ASSETS.style.content).unwrap_or_default();
        assert!(style.contains(&format!("url(\"{}\")", ASSETS.font.name)));
        assert_eq!(style.matches("url(").count(), 1);
    }

    #[test]
    fn only_whole_names_are_found() {
        assert!(ASSETS.find(&ASSETS.style.name).is_some());
        for name in ["", "page.css", "page.0000000000000000.css", "../Cargo.toml"] {
            assert!(ASSETS.find(name).is_none(), "{name}");
        }
    }
}
