//! From a URL and the node's file to a store.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use super::Error;
use super::connect::Connector;
use crate::config;

/// Repetitions of one request that failed on the way, and how long they may take in all.
const RETRIES_MAX: usize = 4;
const RETRY_FOR: Duration = Duration::from_secs(15);

/// The services that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    S3,
    Google,
    Azure,
}

/// Names and texts of a file of credentials.
type Credentials = Vec<(String, String)>;

/// Service, bucket and folder of a URL.
fn parse(url: &str) -> Result<(Service, &str, Path), String> {
    let expected = || format!("`{url}` is none of s3://bucket/folder, gs://… and az://…");
    let (scheme, rest) = url.split_once("://").ok_or_else(expected)?;
    let service = match scheme {
        "s3" => Service::S3,
        "gs" => Service::Google,
        "az" => Service::Azure,
        _ => return Err(expected()),
    };
    let (bucket, folder) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() || bucket.contains(['@', ':', '?', '#']) {
        return Err(expected());
    }
    let folder = Path::parse(folder.trim_end_matches('/'));
    Ok((service, bucket, folder.map_err(|error| format!("`{url}`: {error}"))?))
}

/// Whether a URL can name a folder in a store.
pub(crate) fn check(url: &str) -> Result<(), String> {
    parse(url).map(|_| ())
}

pub(super) fn open(
    url: &str,
    settings: &config::ObjectStore,
) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
    let (service, bucket, folder) = parse(url).map_err(Error::Settings)?;
    if settings.endpoint.as_ref().is_some_and(|at| !at.starts_with("https://"))
        && !settings.allow_plain
    {
        let problem =
            "object_store.endpoint: must begin with https://, or set object_store.allow_plain";
        return Err(Error::Settings(problem.to_owned()));
    }
    let credentials = credentials(settings)?;
    let store = match service {
        Service::S3 => s3(bucket, settings, credentials)?,
        Service::Google => google(bucket, settings, credentials)?,
        Service::Azure => azure(bucket, settings, credentials)?,
    };
    Ok((store, folder))
}

fn credentials(settings: &config::ObjectStore) -> Result<Credentials, Error> {
    let Some(path) = &settings.credentials else { return Ok(Credentials::new()) };
    let problem = |what: &dyn std::fmt::Display| {
        Error::Settings(format!("object_store.credentials: {}: {what}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| problem(&error))?;
    // What is wrong is told without the text, which is secret.
    let read: Result<std::collections::BTreeMap<String, String>, _> = toml::from_str(&text);
    let read = read.map_err(|_| problem(&"not TOML of names and texts, `name = \"text\"`"))?;
    Ok(read.into_iter().collect())
}

/// The key of that name.
fn key<K: std::str::FromStr>(name: &str) -> Result<K, Error> {
    let unknown =
        |_| Error::Settings(format!("object_store.credentials: no key is called `{name}`"));
    name.parse().map_err(unknown)
}

fn settings_error(error: object_store::Error) -> Error {
    Error::Settings(format!("object_store: {error}"))
}

fn s3(
    bucket: &str,
    settings: &config::ObjectStore,
    credentials: Credentials,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_http_connector(Connector::new(settings)?)
        .with_retry(retry())
        .with_allow_http(settings.allow_plain)
        // The store compares what came with what was sent.
        .with_checksum_algorithm(Checksum::SHA256);
    for (name, text) in credentials {
        builder = builder.with_config(key::<AmazonS3ConfigKey>(&name)?, text);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    Ok(Arc::new(builder.build().map_err(settings_error)?))
}

fn google(
    bucket: &str,
    settings: &config::ObjectStore,
    credentials: Credentials,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_http_connector(Connector::new(settings)?)
        .with_retry(retry());
    for (name, text) in credentials {
        builder = builder.with_config(key::<GoogleConfigKey>(&name)?, text);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    Ok(Arc::new(builder.build().map_err(settings_error)?))
}

fn azure(
    container: &str,
    settings: &config::ObjectStore,
    credentials: Credentials,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(container)
        .with_http_connector(Connector::new(settings)?)
        .with_retry(retry())
        .with_allow_http(settings.allow_plain);
    for (name, text) in credentials {
        builder = builder.with_config(key::<AzureConfigKey>(&name)?, text);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    Ok(Arc::new(builder.build().map_err(settings_error)?))
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(3),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRY_FOR }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_service_a_bucket_and_a_folder() {
        let folder = |text: &str| Path::parse(text).expect("a folder");
        assert_eq!(parse("s3://b/one/two/"), Ok((Service::S3, "b", folder("one/two"))));
        assert_eq!(parse("gs://b"), Ok((Service::Google, "b", folder(""))));
        assert_eq!(parse("az://b/"), Ok((Service::Azure, "b", folder(""))));
        for url in ["", "b", "s3:/b", "s3://", "s3:///f", "ftp://b", "s3://u@b/f", "s3://b/f//g"] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn each_service_opens_with_its_own_credentials_and_no_secret_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("credentials.toml");
        let write = |text: &str| std::fs::write(&file, text).expect("written");
        let settings = config::ObjectStore {
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            credentials: Some(file.clone()),
            allow_plain: true,
            ..config::ObjectStore::default()
        };
        write("aws_access_key_id = \"a\"\naws_secret_access_key = \"hidden\"\n");
        let (store, _) = open("s3://b/f", &settings).expect("S3");
        assert!(!format!("{store:?}{store}").contains("hidden"), "{store:?}");
        let google = open("gs://b", &settings).expect_err("a key of another service");
        assert!(google.to_string().contains("aws_access_key_id"), "{google}");
        write("azure_storage_account_name = \"a\"\nazure_storage_account_key = \"aGlkZGVu\"\n");
        open("az://b", &settings).expect("Azure");
        let plain = config::ObjectStore { allow_plain: false, ..settings.clone() };
        let refused = open("az://b", &plain).expect_err("plain HTTP").to_string();
        assert!(refused.contains("allow_plain"), "{refused}");
        write("aws_secret_access_key = hidden");
        let wrong = open("s3://b/f", &settings).expect_err("no TOML").to_string();
        assert!(wrong.contains("credentials.toml") && !wrong.contains("hidden"), "{wrong}");
    }
}
