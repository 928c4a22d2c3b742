"""What a service tells of itself: to Prometheus, who asks; to an OTLP collector, if one is set."""
