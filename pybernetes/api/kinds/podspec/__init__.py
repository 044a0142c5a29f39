"""What pods and pod templates share: defaults, validation, update rules, warnings and the QoS class of a PodSpec."""
