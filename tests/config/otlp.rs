//! `[otlp]`: where spans go. What is wrong with it is said by builds that can export.

use super::*;

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");

#[cfg(not(feature = "otlp"))]
#[test]
fn what_a_platform_sets_for_all_is_no_fault_of_a_build_that_cannot_export() {
    let file = nothing("otlp-build");
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:canary@collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary"),
    ];
    let config = load(&file.flags(), &environment).unwrap();
    assert!(config.otlp.is_some());
    assert!(config.used.iter().all(|used| !used.shown.contains("canary")));
}

#[test]
fn without_an_endpoint_or_where_it_is_forbidden_nothing_is_exported() {
    let file = nothing("otlp-off");
    let off: [&[(&str, &str)]; 4] = [
        &[],
        &[("OTEL_SERVICE_NAME", "robots"), ("OTEL_TRACES_SAMPLER", "no such")],
        &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
        &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
    ];
    for environment in off {
        assert!(load(&file.flags(), environment).unwrap().otlp.is_none());
    }
}

#[cfg(feature = "otlp")]
#[test]
fn every_wrong_value_is_named_and_no_header_is_shown() {
    let file = nothing("otlp-wrong");
    let wrong = |name, value| {
        let faults = faults(&file.flags(), &[ENDPOINT, (name, value)]);
        let fault = faults
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("{name}={value} is taken"));
        assert!(fault.starts_with(name), "{fault}");
        fault
    };
    for (name, value, expected) in [
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "collector",
            "http://localhost:4317",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "4317"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "30s"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=a,b", "entry 2"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "traceidratio"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "1000000"),
    ] {
        let fault = wrong(name, value);
        assert!(fault.contains(expected), "{fault}");
    }
    for hidden in [
        wrong("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://me:canary@collector:4317"),
        wrong("OTEL_EXPORTER_OTLP_HEADERS", "a=b,canary"),
        wrong("OTEL_EXPORTER_OTLP_HEADERS", "a=canary%2"),
        wrong("OTEL_EXPORTER_OTLP_HEADERS", "a name=canary"),
        wrong("OTEL_EXPORTER_OTLP_HEADERS", "a=canary%0A"),
    ] {
        assert!(!hidden.contains("canary"), "{hidden}");
    }
    let ratio = [
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ];
    let ratio = faults(&file.flags(), &[ENDPOINT, ratio[0], ratio[1]]).join("\n");
    assert!(ratio.contains("OTEL_TRACES_SAMPLER_ARG: `2` is not a share"), "{ratio}");
}

#[cfg(feature = "otlp")]
#[test]
fn the_standard_variables_say_where_spans_go_and_headers_are_nowhere_to_be_seen() {
    let file = TestFile::new("otlp-on", "[otlp]\nservice_name = \"from-the-file\"\nqueue_size = 16\n");
    let config = load(
        &file.flags(),
        &[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:4317"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "Authorization=Bearer%20canary+1%2F2==, x-team = b",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=unheard,team=rpa%20one"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8"),
        ],
    )
    .unwrap();
    let otlp = config.otlp.as_ref().unwrap();
    assert_eq!(otlp.endpoint, "https://traces:4317");
    assert_eq!(otlp.headers["authorization"], "Bearer canary+1/2==");
    assert_eq!(otlp.headers["x-team"], "b");
    assert_eq!(otlp.timeout, Duration::from_millis(1500));
    assert_eq!((otlp.share, otlp.queue, otlp.batch), (0.25, 16, 8));
    let resource = |name| {
        otlp.resource
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| &**value)
    };
    assert_eq!(resource("service.name"), Some("from-the-file"));
    assert_eq!(resource("team"), Some("rpa one"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("canary"), "{shown}");
    let masked = config.known.redactor();
    assert_eq!(masked.text("<canary+1/2==> <canary+1%2F2==> b"), "<***> <***> b");
}
