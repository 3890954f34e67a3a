//! The OpenAPI document and two ways to read it: Swagger UI and ReDoc, both from this program alone.
//!
//! ## Why
//! The scripts come from a crate that has them between the tags of whole pages. They are taken out, so that the pages have
//! no inline script and their policies need not allow any. Nothing is made before it is asked for, and what is kept is
//! compressed.

use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::conditional;
use super::error::Error;
use super::{openapi, operations};
use crate::model::Etag;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Swagger UI has its styles in a file, and sets others by script.
const SWAGGER_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// ReDoc makes style elements: one of a fixed text, and others that are empty and filled by script. The hashes are theirs.
const REDOC_POLICY: &str = "default-src 'none'; script-src 'self'; \
     style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' \
     'sha256-DLDPR1ic47WIdK2WyeLkblb/tm2mQH+Jt/NNhZWu1k0='; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where it would fetch a picture from the internet.
const REDOC_LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";

/// A file of this program.
#[derive(Debug)]
struct File {
    path: &'static str,
    content_type: &'static str,
    /// The policy of a page.
    policy: Option<&'static str>,
    text: fn() -> String,
    ready: OnceLock<Packed>,
}

impl File {
    const fn new(path: &'static str, content_type: &'static str, text: fn() -> String) -> Self {
        Self { path, content_type, policy: None, text, ready: OnceLock::new() }
    }

    const fn page(path: &'static str, policy: &'static str, text: fn() -> String) -> Self {
        Self { path, content_type: HTML, policy: Some(policy), text, ready: OnceLock::new() }
    }
}

static FILES: [File; 8] = [
    File::page("/docs", SWAGGER_POLICY, || include_str!("swagger.html").to_owned()),
    File::new("/docs/start.js", SCRIPT, || include_str!("swagger.js").to_owned()),
    File::new("/docs/swagger-ui.css", CSS, || between(&swagger(), "<style>", "</style>")),
    File::new("/docs/swagger-ui.js", SCRIPT, || between(&swagger(), "<script>", "</script>")),
    File::page("/redoc", REDOC_POLICY, || include_str!("redoc.html").to_owned()),
    File::new("/redoc/start.js", SCRIPT, || include_str!("redoc.js").to_owned()),
    File::new("/redoc/page.css", CSS, || include_str!("redoc.css").to_owned()),
    File::new("/redoc/redoc.js", SCRIPT, || {
        between(&aide::redoc::Redoc::new("").html(), "<script>", "Redoc.init(\"\"").replace(REDOC_LOGO, "data:,")
    }),
];

const DOCUMENT: &str = "/openapi.json";

/// The paths of everything here.
pub(super) fn paths() -> impl Iterator<Item = String> {
    FILES.iter().map(|file| file.path).chain([DOCUMENT]).map(str::to_owned)
}

fn swagger() -> String {
    aide::swagger::Swagger::new("").html()
}

/// What stands after the first `begin` and before the first `end` that follows.
fn between(page: &str, begin: &str, end: &str) -> String {
    let rest = page.split_once(begin).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(text, _)| text).to_owned()
}

/// Text as it is kept and mostly sent.
#[derive(Clone, Debug)]
struct Packed {
    gzip: Bytes,
    tag: Etag,
}

impl Packed {
    fn new(text: &str) -> std::io::Result<Self> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes())?;
        Ok(Self { gzip: encoder.finish()?.into(), tag: Etag::of(text.as_bytes()) })
    }

    /// Takes it from `ready`, where it is put if nobody has asked for it before.
    async fn get(ready: &OnceLock<Self>, text: impl FnOnce() -> String + Send + 'static) -> Result<Self, Error> {
        if let Some(packed) = ready.get() {
            return Ok(packed.clone());
        }
        // More than a megabyte to compress: not on a thread that others wait for.
        let packed = tokio::task::spawn_blocking(move || Self::new(&text())).await;
        let packed = packed.map_err(Error::internal)?.map_err(Error::internal)?;
        Ok(ready.get_or_init(|| packed).clone())
    }

    fn answer(&self, request: &HeaderMap, content_type: &'static str) -> Result<Response, Error> {
        let mut head = HeaderMap::new();
        let tag = format!("W/{}", self.tag.as_str());
        head.insert(header::ETAG, HeaderValue::from_str(&tag).map_err(Error::internal)?);
        // Kept, and asked about each time: another release has other files at the same paths.
        head.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        head.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if conditional::known(request).iter().any(|known| known.match_weakly(&self.tag)) {
            return Ok((StatusCode::NOT_MODIFIED, head).into_response());
        }
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if takes_gzip(request) {
            head.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return Ok((head, Body::from(self.gzip.clone())).into_response());
        }
        let mut text = Vec::new();
        GzDecoder::new(&self.gzip[..]).read_to_end(&mut text).map_err(Error::internal)?;
        Ok((head, text).into_response())
    }
}

fn takes_gzip(request: &HeaderMap) -> bool {
    let refused =
        |weight: &str| weight.trim().strip_prefix("q=").is_some_and(|q| q.trim_matches(['0', '.']).is_empty());
    let is_gzip = |coding: &str| match coding.split_once(';') {
        Some((name, weight)) => name.trim() == "gzip" && !refused(weight),
        None => coding.trim() == "gzip",
    };
    let values = request.get_all(header::ACCEPT_ENCODING).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(is_gzip)
}

/// What the document is made from, and the document once it was asked for.
#[derive(Debug)]
struct Source {
    name: String,
    prefix: String,
    ready: OnceLock<Packed>,
}

/// Serves the document of a service of this name, whose API is below `prefix`, and the pages.
pub(super) fn router(name: &str, prefix: &str) -> Router {
    let source = Source { name: name.to_owned(), prefix: prefix.to_owned(), ready: OnceLock::new() };
    let router = Router::new().route(DOCUMENT, get(document)).with_state(Arc::new(source));
    FILES.iter().fold(router, |router, file| router.route(file.path, get(async |headers| serve(file, headers).await)))
}

async fn document(State(source): State<Arc<Source>>, headers: HeaderMap) -> Result<Response, Error> {
    let (name, prefix) = (source.name.clone(), source.prefix.clone());
    let text = move || openapi::document(&name, &prefix, operations()).to_string();
    Packed::get(&source.ready, text).await?.answer(&headers, "application/json")
}

async fn serve(file: &'static File, headers: HeaderMap) -> Result<Response, Error> {
    let mut response = Packed::get(&file.ready, file.text).await?.answer(&headers, file.content_type)?;
    if let Some(policy) = file.policy {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_are_found_in_their_pages() {
        let text = |path: &str| FILES.iter().find(|file| file.path == path).map(|file| (file.text)()).unwrap();
        assert!(text("/docs/swagger-ui.css").contains(".swagger-ui{"));
        assert!(text("/docs/swagger-ui.js").contains("SwaggerUIBundle"));
        let redoc = text("/redoc/redoc.js");
        assert!(redoc.len() > 500_000 && !redoc.contains("//cdn."));
    }

    #[test]
    fn gzip_is_sent_to_whoever_takes_it() {
        let takes = |value: &'static str| {
            let headers = [(header::ACCEPT_ENCODING, HeaderValue::from_static(value))];
            takes_gzip(&headers.into_iter().collect())
        };
        for value in ["gzip", "deflate, gzip;q=1.0, *;q=0.5", "br , gzip ; q=0.1"] {
            assert!(takes(value), "{value}");
        }
        for value in ["", "identity", "gzip;q=0", "gzip;q=0.000, br", "x-gzipped"] {
            assert!(!takes(value), "{value}");
        }
    }
}
