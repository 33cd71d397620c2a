// Package suite runs Kubernetes' own tests of storage and of load balancers (test/e2e/conformance) against the product on a
// running cluster, and tells what passed, what failed, and what was skipped and why.
package suite
